// The tables of snapshots and bitmaps damaged at random: refused with a rule, or accepted and then the same
// disk to QEMU.
#include <fcntl.h>

#include <cstdlib>
#include <string>

#include "executor/failure.h"
#include "image/convert_raw.h"
#include "random_fixture.h"
#include "rich_image.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

bool has_qemu_img() {
  static const bool there = std::system("command -v qemu-img >/dev/null") == 0;
  return there;
}

bool qemu_img(const std::string& words) {
  return std::system(("qemu-img " + words + " >/dev/null 2>&1").c_str()) == 0;
}

void convert(const Bytes& bytes, const Qcow2Header& header, int target) {
  std::vector<Layer> layers;
  layers.push_back({in_memory(bytes), header});
  Cancellation never;
  convert_to_raw(Disk(std::move(layers)), target, "raw", {1}, never);
}

/// What we read of an image is what QEMU reads.
/// Or both find a compressed stream damaged.
bool is_the_same_to_qemu(const Bytes& bytes, const Qcow2Header& header) {
  const ScratchDirectory scratch;
  const std::string image = scratch / "image";
  const std::string raw = scratch / "raw";
  write_bytes(image, bytes);
  const FileDescriptor target(::open(raw.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  REQUIRE(target);
  if (!image_rule([&] { convert(bytes, header, target.get()); }).empty()) {
    return !qemu_img("convert -f qcow2 -O raw " + image + " " + (scratch / "theirs"));
  }
  return qemu_img("compare -f qcow2 -F raw " + image + " " + raw);
}

/// One word of one table: half of the damage is a value at which checks go wrong, half a bit.
void damage(std::mt19937_64& random, RichImage& image, const RichImage::Table& table) {
  const std::uint64_t at = table.offset + random() % table.bytes;
  if (random() % 2 == 0) {
    image.bytes[at] = static_cast<std::uint8_t>(image.bytes[at] ^ 1U << random() % 8);
    return;
  }
  // Also where the image has something: other tables, and data.
  const std::uint64_t value = random() % 2 == 0 ? awkward(random, image.bytes.size())
                                                : random() % (image.bytes.size() / 512 + 2) * 512;
  switch (random() % 3) {
    case 0:
      image.put64(at / 8 * 8, value);
      return;
    case 1:
      image.put32(at / 4 * 4, static_cast<std::uint32_t>(value));
      return;
    default:
      image.put16(at / 2 * 2, static_cast<std::uint16_t>(value));
  }
}

/// Of snapshots and bitmaps in three of four cases.
RichImage::Table pick(std::mt19937_64& random, const RichImage& image) {
  if (random() % 4 == 0) {
    const RichImage::Table active[] = {{8, 144},       {image.table, 16}, {image.block, 64},
                                       {image.l1, 16}, image.active_l2,   image.active_l2};
    return active[random() % std::size(active)];
  }
  const RichImage::Table tables[] = {image.snapshot_table,   image.snapshot_table,   image.snapshot_l1[0],
                                     image.snapshot_l1[1],   image.snapshot_l2,      image.snapshot_l2,
                                     image.bitmap_directory, image.bitmap_directory, image.bitmap_tables[0],
                                     image.bitmap_tables[1]};
  return tables[random() % std::size(tables)];
}

}  // namespace

TEST_CASE("the image that is damaged below is a good one, to QEMU as well") {
  for (const bool extended : {false, true}) {
    for (const Compression compression : {Compression::deflate, Compression::zstd}) {
      CAPTURE(extended);
      const RichImage image(extended, compression);
      REQUIRE(image.rule().empty());
      if (!has_qemu_img()) continue;
      CHECK(is_the_same_to_qemu(image.bytes, *inspect(image.bytes, "qcow2").qcow2));
      const ScratchDirectory scratch;
      write_bytes(scratch / "image", image.bytes);
      CHECK(qemu_img("check -f qcow2 " + (scratch / "image")));
    }
  }
}

TEST_CASE("mutated tables, mostly of snapshots and bitmaps, are refused, or the disk is the same to QEMU") {
  constexpr int kRounds = 7000;
  // A process each.
  constexpr int kCompared = 50;
  const std::uint64_t seed = test_seed("table mutation");
  std::mt19937_64 random(seed);
  int accepted = 0;
  int refused = 0;
  int compared = 0;
  for (int round = 0; round < kRounds; ++round) {
    CAPTURE(seed);
    CAPTURE(round);
    RichImage image(random() % 4 == 0, random() % 2 == 0 ? Compression::deflate : Compression::zstd);
    for (std::uint64_t n = 1 + random() % 2; n > 0; --n) damage(random, image, pick(random, image));
    std::optional<Qcow2Header> header;
    const std::string rule = image_rule([&] { header = inspect(image.bytes, "qcow2").qcow2; });
    const std::uint64_t window = 1 + random() % 8;
    const Cancellation never;
    CHECK(rule.empty() ==
          image_rule([&] { validate_qcow2(in_memory(image.bytes), {kAnySize}, never, window); }).empty());
    if (!header) {
      ++refused;
      CHECK_FALSE(rule.empty());
      continue;
    }
    ++accepted;
    if (header->virtual_size > std::uint64_t{1} << 26) continue;
    if (has_qemu_img() && compared < kCompared) {
      ++compared;
      CHECK(is_the_same_to_qemu(image.bytes, *header));
    } else {
      const FileDescriptor raw(memfd_create("raw", MFD_CLOEXEC));
      REQUIRE(raw);
      // A compressed stream may turn out to be damaged.
      image_rule([&] { convert(image.bytes, *header, raw.get()); });
    }
  }
  CHECK(accepted > kRounds / 10);
  CHECK(refused > kRounds / 10);
  CHECK((compared == kCompared || !has_qemu_img()));
}
