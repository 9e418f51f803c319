// Growing an overlay: what the old end of its disk hid of a longer backing file never shows, whatever of the
// growth is lost.
#include <filesystem>
#include <string>

#include "grow_fixture.h"
#include "image/disk_reader.h"
#include "image/qcow2_create.h"
#include "random_fixture.h"
#include "rich_image.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

/// A raw base of that many bytes, none of them zero, in a directory of its own.
struct Base {
  ScratchDirectory scratch;
  Bytes bytes;
  LayerName name;

  explicit Base(std::uint64_t size) : bytes(size), name{scratch / "base", "raw"} {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(1 + i / 512 % 255);
    write_bytes(name.path, bytes);
  }
};

void put_backing_name(Qcow2Image& image, const Base& base) {
  constexpr std::uint64_t kPlace = 160;
  image.put64(8, kPlace);
  image.put32(16, static_cast<std::uint32_t>(base.name.path.size()));
  image.put_text(kPlace, base.name.path);
}

/// The guest's disk, of an image that must be good.
Bytes content(const Bytes& overlay, const Base& base) {
  const Cancellation never;
  SourceFile file = in_memory(overlay);
  const Qcow2Header header = validate_qcow2(file, {kAnySize, true}, never).header;
  std::vector<Layer> layers;
  layers.push_back({std::move(file), header});
  layers.push_back({in_memory(base.bytes), std::nullopt});
  const Disk disk(std::move(layers));
  Bytes all(static_cast<std::size_t>(disk.size()));
  DiskReader(disk).read(0, all.data(), all.size());
  return all;
}

bool begins_with(const Bytes& all, const Bytes& part) {
  return part.size() <= all.size() && std::equal(part.begin(), part.end(), all.begin());
}

/// All that may become of the overlay has the old disk, or the new one: the old one with zeros behind it.
void check_growth(const Qcow2Image& image, const Base& base, std::uint64_t size, std::mt19937_64& random) {
  const Bytes old = content(image.bytes, base);
  Bytes grown = old;
  grown.resize(size);
  const Growth growth = grow(image.bytes, size, ~std::size_t{0}, {base.name});
  each_crash(growth, random, [&](const Bytes& bytes) {
    const Bytes now = content(bytes, base);
    CHECK((now.size() == old.size() || now.size() == size));
    CHECK(begins_with(grown, now));
  });
  CHECK(word(growth.after, 24) == size);
  // Neither errors nor leaks.
  const std::string path = base.scratch / "after";
  write_bytes(path, growth.after);
  CHECK(qemu_img_check(path) <= 0);
}

}  // namespace

TEST_CASE(
    "an overlay grows over a longer base: its rest never shows, whatever was in the cluster of the end") {
  std::mt19937_64 random(test_seed("grow overlay"));
  for (const bool extended : {false, true}) {
    // The guest's clusters of RichImage: shared data, data, compressed twice, zeros, data, and one that is
    // absent.
    for (std::uint64_t cluster = 0; cluster < 7; ++cluster) {
      for (const std::uint64_t more : {0U, 1024U}) {
        CAPTURE(extended);
        CAPTURE(cluster);
        CAPTURE(more);
        RichImage image(extended, cluster % 2 == 0 ? Compression::deflate : Compression::zstd);
        if (cluster + more == 0) continue;
        image.drop_bitmaps();
        image.put64(24, cluster * image.cluster + more);
        const Base base(10 * image.cluster);
        put_backing_name(image, base);
        check_growth(image, base, 12 * image.cluster, random);
      }
    }
  }
}

TEST_CASE("an overlay grows over a longer base by many tables, and by new refcounts for them") {
  std::mt19937_64 random(test_seed("grow overlay"));
  const Base base(512 << 10);
  for (const unsigned order : {0U, 4U, 6U}) {
    CAPTURE(order);
    Qcow2Image image = counted(3, 9, order);
    image.put64(24, 1024);
    put_backing_name(image, base);
    check_growth(image, base, 1 << 20, random);
    // As far as the base goes, and no further than asked for.
    check_growth(image, base, 100 << 10, random);
  }
}

TEST_CASE("what an overlay needs of its base is read from the whole chain below it") {
  const ScratchDirectory scratch;
  const Cancellation never;
  const Base bottom(64 << 10);
  const std::string middle = scratch / "middle";
  const std::string top = scratch / "top";
  create_qcow2(middle, {BackingFile{bottom.name.path, "raw"}, 128 << 10});
  create_qcow2(top, {BackingFile{middle, "qcow2"}, 1536});
  const std::vector<LayerName> chain = {{top, "qcow2"}, {middle, "qcow2"}, bottom.name};
  const Bytes before = read_bytes(top);
  CHECK(image_rule([&] { grow_image({chain[0], chain[1]}, 1 << 20, never); }) == "backing-file");
  CHECK(read_bytes(top) == before);
  CHECK(grow_image(chain, 1 << 20, never).virtual_size == 1 << 20);
  const Disk disk = Disk::open(chain, kAnySize, never);
  Bytes all(1 << 20);
  DiskReader(disk).read(0, all.data(), all.size());
  Bytes expected(bottom.bytes.begin(), bottom.bytes.begin() + 1536);
  expected.resize(1 << 20);
  CHECK(all == expected);
}

TEST_CASE("a growth over a longer base that is cancelled or finds no room leaves the file as it was") {
  const Base base(512 << 10);
  Qcow2Image image = counted(3, 9, 6);
  image.put64(24, 1024);
  put_backing_name(image, base);
  const Growth whole = grow(image.bytes, 1 << 20, ~std::size_t{0}, {base.name});
  for (std::size_t at = 0; at < whole.steps.size() && whole.steps[at].kind != Step::barrier; ++at) {
    CAPTURE(at);
    // The counts of what is new: from here on clusters may be leaked.
    if (whole.steps[at].kind == Step::write && whole.steps[at].offset < image.bytes.size()) break;
    CHECK(grow(image.bytes, 1 << 20, at, {base.name}).after == image.bytes);
  }
  const ScratchDirectory scratch;
  write_bytes(scratch / "image", image.bytes);
  Cancellation cancelled;
  cancelled.cancel();
  CHECK_THROWS_AS(grow_image({{scratch / "image", "qcow2"}, base.name}, 1 << 20, cancelled), Cancelled);
  CHECK(read_bytes(scratch / "image") == image.bytes);
}

TEST_CASE("an overlay of version 2 does not grow over a longer base: it cannot say zero") {
  const Base base(512 << 10);
  Qcow2Image image = counted(2, 12, 4);
  image.put64(24, 8192);
  put_backing_name(image, base);
  write_bytes(base.scratch / "image", image.bytes);
  const Cancellation never;
  const auto rule = [&](std::uint64_t size) {
    return image_rule([&] { grow_image({{base.scratch / "image", "qcow2"}, base.name}, size, never); });
  };
  CHECK(rule(1 << 20) == "backing-file");
  CHECK(read_bytes(base.scratch / "image") == image.bytes);
  image.put64(24, 512 << 10);
  write_bytes(base.scratch / "image", image.bytes);
  CHECK(rule(1 << 20).empty());
}

TEST_CASE("an overlay grows over a backing file of any length, which must be named and there") {
  const ScratchDirectory scratch;
  const Cancellation never;
  const std::string base = scratch / "base";
  const std::string disk = scratch / "disk";
  const auto overlay = [&](std::uint64_t size, const std::string& format = "raw") {
    std::filesystem::remove(disk);
    create_qcow2(disk, {BackingFile{base, format}, size});
    return image_rule([&] { grow_image({{disk, "qcow2"}, {base, format}}, 4 * kGib, never); });
  };
  write_bytes(base, Bytes(1 << 20, 1));
  CHECK(overlay(1 << 20).empty());
  CHECK(overlay(kGib).empty());
  CHECK(overlay(1 << 19).empty());
  std::filesystem::remove(base);
  create_qcow2(base, {std::nullopt, kGib});
  CHECK(overlay(kGib, "qcow2").empty());
  CHECK(overlay(kGib / 2, "qcow2").empty());
  CHECK(image_rule([&] { grow_image({{disk, "qcow2"}}, 4 * kGib, never); }) == "backing-file");
  CHECK(image_rule([&] {
          grow_image({{base, "qcow2"}, {base, "qcow2"}}, 4 * kGib, never);
        }) == "backing-file");
  CHECK_THROWS_AS(grow_image({}, kGib, never), InvalidArgument);
  std::filesystem::remove(base);
  CHECK_THROWS_AS(overlay(kGib), SystemError);
}
