// Growing in place: after every write of it, and after every part of the writes that a power failure may
// lose, the image is good. Our own count of references says so, and qemu-img check where there is one.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <random>
#include <string>

#include "executor/failure.h"
#include "image/grow.h"
#include "image/image_lock.h"
#include "image/qcow2_create.h"
#include "image/qcow2_refcounts.h"
#include "image/qcow2_validator.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

std::uint64_t read_refcount(const SourceFile& file, const Qcow2Header& header, std::uint64_t cluster) {
  const std::uint64_t block_index = cluster / refcounts_per_block(header);
  if (block_index >= header.refcount_table_clusters * header.cluster_size() / 8) return 0;
  std::uint8_t raw[8];
  file.read(header.refcount_table_offset + block_index * 8, raw, sizeof raw);
  const auto block = load_be<std::uint64_t>(raw);
  if (block == 0) return 0;
  const std::uint64_t first_bit = cluster % refcounts_per_block(header) << header.refcount_order;
  const unsigned bits = 1U << header.refcount_order;
  file.read(block + first_bit / 8, raw, bits < 8 ? 1 : bits / 8);
  return load_refcount(raw, bits < 8 ? first_bit % 8 / bits : 0, header.refcount_order);
}

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

struct Step {
  enum { write, resize, barrier } kind;
  std::uint64_t offset = 0;
  Bytes data = {};
};

/// Notes each step, and fails at one of them.
class RecordingWriter final : public ImageWriter {
 public:
  explicit RecordingWriter(int descriptor, std::size_t fail_at = ~std::size_t{0})
      : ImageWriter(descriptor, "image"), fail_at_(fail_at) {}

  void write(std::uint64_t offset, const Bytes& data) override {
    note({Step::write, offset, data});
    ImageWriter::write(offset, data);
  }
  void resize(std::uint64_t bytes) override {
    note({Step::resize, bytes});
    ImageWriter::resize(bytes);
  }
  void barrier() override { note({Step::barrier}); }

  std::vector<Step> steps;

 private:
  void note(Step step) {
    if (steps.size() == fail_at_) {
      fail_at_ = ~std::size_t{0};
      throw SystemError(ENOSPC, "write", "image");
    }
    steps.push_back(std::move(step));
  }
  std::size_t fail_at_;
};

/// Writes as the steps say; of each write only the sectors that `survives` lets through.
template <class Survives>
void apply(Bytes& bytes, const Step& step, Survives survives) {
  if (step.kind == Step::resize) bytes.resize(static_cast<std::size_t>(step.offset));
  if (step.kind != Step::write) return;
  for (std::uint64_t i = 0; i < step.data.size();) {
    const std::uint64_t length = std::min(step.data.size() - i, 512 - (step.offset + i) % 512);
    if (survives()) {
      const std::uint64_t end = step.offset + i + length;
      if (bytes.size() < end) bytes.resize(static_cast<std::size_t>(end));
      std::memcpy(bytes.data() + step.offset + i, step.data.data() + i, length);
    }
    i += length;
  }
}

std::uint64_t word(const Bytes& bytes, std::uint64_t at) {
  return at + 8 <= bytes.size() ? load_be<std::uint64_t>(bytes.data() + at) : 0;
}

/// Clusters that are used more often than they are counted.
std::uint64_t uncounted(const Bytes& bytes) {
  const SourceFile file = in_memory(bytes);
  const Cancellation never;
  const Qcow2Header header = validate_qcow2(file, {kAnySize * 4, true}, never).header;
  const std::uint64_t cluster = header.cluster_size();
  std::vector<std::uint64_t> used(static_cast<std::size_t>(divide_up(bytes.size(), cluster)));
  const auto use = [&](std::uint64_t offset, std::uint64_t length) {
    for (std::uint64_t i = offset / cluster; i < divide_up(offset + length, cluster); ++i) {
      ++used.at(static_cast<std::size_t>(i));
    }
  };
  use(0, 1);
  use(header.refcount_table_offset, header.refcount_table_clusters * cluster);
  for (const std::uint64_t block : read_refcount_table(file, header)) {
    if (block != 0) use(block, 1);
  }
  use(header.l1_offset, std::uint64_t{header.l1_entries} * 8);
  for (std::uint64_t i = 0; i < header.l1_entries; ++i) {
    const std::uint64_t table = word(bytes, header.l1_offset + i * 8) & kOffsetMask;
    if (table == 0) continue;
    use(table, 1);
    for (std::uint64_t at = table; at < table + cluster; at += 8) {
      if ((word(bytes, at) & kOffsetMask) != 0) use(word(bytes, at) & kOffsetMask, 1);
    }
  }
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < used.size(); ++i) {
    if (read_refcount(file, header, i) < used[static_cast<std::size_t>(i)]) ++wrong;
  }
  return wrong;
}

/// Whether qemu-img check finds an error: status 0 is good, 3 has leaked clusters only.
bool qemu_img_objects(const std::string& path) {
  static const bool there = std::system("command -v qemu-img >/dev/null") == 0;
  if (!there) return false;
  const int status = std::system(("qemu-img check -q -f qcow2 " + path + " >/dev/null 2>&1").c_str());
  return status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

/// A small image with counts of 2^order bits.
Qcow2Image counted(std::uint32_t version, unsigned cluster_bits, unsigned order) {
  Qcow2Image image(version, cluster_bits);
  // One L1 entry, whatever the cluster.
  image.virtual_size = std::min<std::uint64_t>(image.cluster * (image.cluster / 8), 1 << 20);
  image.put64(24, image.virtual_size);
  image.put32(36, 1);
  if (version >= 3) image.put32(96, order);
  std::memset(image.bytes.data() + image.block, 0, image.cluster);
  for (std::uint64_t i = 0; i < 8; ++i) store_refcount(image.bytes.data() + image.block, i, order, 1);
  return image;
}

struct Growth {
  Bytes before;
  Bytes after;
  std::vector<Step> steps;
};

Growth grow(const Bytes& before, std::uint64_t virtual_size, std::size_t fail_at = ~std::size_t{0}) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "image";
  write_bytes(path, before);
  FileDescriptor descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(descriptor);
  RecordingWriter writer(descriptor.get(), fail_at);
  const Cancellation never;
  try {
    grow_file(SourceFile(std::move(descriptor), path), writer, "qcow2", nullptr, virtual_size, never);
  } catch (const SystemError&) {
    // That of fail_at.
  }
  // The descriptor is closed with the source.
  return {before, read_bytes(path), std::move(writer.steps)};
}

std::string grow_rule(const Bytes& bytes, std::uint64_t virtual_size, const std::string& format = "qcow2") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "image";
  write_bytes(path, bytes);
  const Cancellation never;
  const std::string rule = image_rule([&] { grow_image({{path, format}}, virtual_size, never); });
  if (!rule.empty()) CHECK(read_bytes(path) == bytes);
  return rule;
}

/// The size in the header, after our own judgement of the whole and of the old content.
std::uint64_t judged_size(const Qcow2Image& image, const Bytes& bytes) {
  CHECK(uncounted(bytes) == 0);
  const Bytes data(image.bytes.begin() + static_cast<long>(image.data), image.bytes.end());
  CHECK(std::equal(data.begin(), data.end(), bytes.begin() + static_cast<long>(image.data)));
  CHECK((word(bytes, word(bytes, 40)) & kOffsetMask) == image.l2);
  return word(bytes, 24);
}

}  // namespace

TEST_CASE("an image grows to any size, whatever its version, clusters and refcounts") {
  for (const unsigned cluster_bits : {9U, 12U, 16U, 21U}) {
    for (unsigned order = 0; order <= 6; ++order) {
      for (const std::uint32_t version : {2U, 3U}) {
        if (version == 2 && order != 4) continue;
        for (const std::uint64_t size : {(std::uint64_t{1} << 20) + 512, kGib, 100 * kGib}) {
          const std::uint64_t reach = (kMaxL1Bytes / 8) << (2 * cluster_bits - 3);
          if (size > reach || (cluster_bits == 9 && size > 10 * kGib)) continue;
          CAPTURE(cluster_bits);
          CAPTURE(order);
          CAPTURE(version);
          CAPTURE(size);
          const Qcow2Image image = counted(version, cluster_bits, order);
          CHECK(judged_size(image, grow(image.bytes, size).after) == size);
        }
      }
    }
  }
}

TEST_CASE("growing again and again stays right: tables that grew once grow twice") {
  const Qcow2Image image = counted(3, 9, 6);
  Bytes bytes = image.bytes;
  for (std::uint64_t size = 1 << 20; size <= 16 * kGib; size *= 2) {
    CAPTURE(size);
    bytes = grow(bytes, size).after;
    CHECK(judged_size(image, bytes) == size);
  }
}

TEST_CASE("after each step of growing, and whatever of unsynced steps is lost, the image is good") {
  const std::uint64_t seed = std::random_device()();
  std::printf("grow seed %llu\n", static_cast<unsigned long long>(seed));
  std::mt19937_64 random(seed);
  struct Case {
    unsigned order;
    std::uint64_t size;
    std::string what;
  };
  // 64-bit counts in 512-byte clusters: 64 to a block, 4096 to a table of one cluster.
  for (const Case& that : {Case{4, 32768, "size only"}, Case{4, kGib / 64, "the block has room"},
                           Case{6, kGib / 4, "new blocks"}, Case{6, 9 * kGib, "a larger table"},
                           Case{0, kGib, "counts of one bit"}}) {
    CAPTURE(that.what);
    Qcow2Image image = counted(3, 9, that.order);
    if (that.size == 32768) image.put64(24, image.virtual_size = 1024);
    const Growth growth = grow(image.bytes, that.size);
    const ScratchDirectory scratch;
    const std::string path = scratch / "image";
    const auto judge = [&](const Bytes& bytes) {
      const std::uint64_t size = judged_size(image, bytes);
      CHECK((size == image.virtual_size || size == that.size));
      write_bytes(path, bytes);
      CHECK_FALSE(qemu_img_objects(path));
    };
    Bytes durable = growth.before;
    std::vector<Step> epoch;
    for (std::size_t i = 0; i <= growth.steps.size(); ++i) {
      CAPTURE(i);
      const bool end = i == growth.steps.size();
      // Where the process dies.
      Bytes now = durable;
      for (const Step& step : epoch) apply(now, step, [] { return true; });
      if (epoch.size() < 8 || i % 16 == 0) judge(now);
      if (!end && growth.steps[i].kind != Step::barrier) {
        epoch.push_back(growth.steps[i]);
        continue;
      }
      // Where the host dies: any sectors, any length.
      for (int round = 0; round < 10; ++round) {
        Bytes torn = durable;
        for (const Step& step : epoch) {
          if (random() % 4 != 0) apply(torn, step, [&random] { return random() % 3 != 0; });
        }
        judge(torn);
      }
      for (const Step& step : epoch) apply(durable, step, [] { return true; });
      epoch.clear();
    }
    CHECK(durable == growth.after);
    CHECK(word(durable, 24) == that.size);
  }
}

TEST_CASE("the header is changed by one write in its first sector") {
  const Qcow2Image image = counted(3, 9, 6);
  for (const std::uint64_t size : {kGib, 9 * kGib}) {
    const Growth growth = grow(image.bytes, size);
    std::size_t writes = 0;
    for (const Step& step : growth.steps) {
      if (step.kind != Step::write || step.offset >= 512) continue;
      ++writes;
      CHECK(step.offset == 24);
      CHECK(step.offset + step.data.size() <= 104);
    }
    CHECK(writes == 1);
  }
}

TEST_CASE("a full file system fails the growth and leaves the file as it was") {
  const Qcow2Image image = counted(3, 9, 6);
  for (const std::size_t at : {0U, 1U, 2U, 5U}) CHECK(grow(image.bytes, kGib, at).after == image.bytes);
}

TEST_CASE("clusters that are counted beyond the end of the file are left alone") {
  Qcow2Image image = counted(3, 12, 4);
  image.put16(image.block + 20 * 2, 1);
  const Bytes after = grow(image.bytes, 10 * kGib).after;
  CHECK(judged_size(image, after) == 10 * kGib);
  CHECK(word(after, 40) == 21 * image.cluster);
}

TEST_CASE("unknown autoclear features are cleared, since they were not told") {
  Qcow2Image image = counted(3, 12, 4);
  image.put64(88, 0xff00);
  CHECK(word(grow(image.bytes, kGib).after, 88) == 0);
}

TEST_CASE("the same size is no change, and sizes are whole sectors") {
  const Qcow2Image image = counted(3, 12, 4);
  CHECK(grow(image.bytes, image.virtual_size).after == image.bytes);
  CHECK(word(grow(image.bytes, kGib - 1).after, 24) == kGib);
}

TEST_CASE("what cannot grow is refused and stays as it was") {
  const Qcow2Image good = counted(3, 12, 4);
  const auto rule = [&good](const std::function<void(Qcow2Image&)>& change, std::uint64_t size = kGib) {
    Qcow2Image image = good;
    change(image);
    return grow_rule(image.bytes, size);
  };
  const auto nothing = [](Qcow2Image&) {};
  CHECK(rule(nothing).empty());
  CHECK(rule(nothing, good.virtual_size - 512) == "shrink");
  CHECK(rule(nothing, (kMaxL1Bytes / 8) * 512 * 4096 + 1) == "too-large");
  CHECK(rule(nothing, ~std::uint64_t{0}) == "too-large");
  CHECK(rule([](Qcow2Image& i) { i.put64(72, kIncompatibleDirty); }) == "dirty");
  CHECK(rule([](Qcow2Image& i) { i.put64(72, kIncompatibleCorrupt); }) == "corrupt");
  CHECK(rule([](Qcow2Image& i) { i.put64(72, kIncompatibleDataFile); }) == "data-file");
  CHECK(rule([](Qcow2Image& i) { i.put64(72, std::uint64_t{1} << 40); }) == "unknown-feature");
  CHECK(rule([](Qcow2Image& i) { i.put32(32, 2); }) == "encrypted");
  CHECK(rule([](Qcow2Image& i) { i.put64(i.l2, i.l1); }) == "overlap");
  CHECK(rule([](Qcow2Image& i) {
          // A directory in the first data cluster.
          i.put64(88, kAutoclearBitmaps);
          i.put64(i.l2, 0);
          // One bitmap, its table and a name of 8 bytes.
          i.put64(i.data, i.data + i.cluster);
          i.put32(i.data + 8, 1);
          i.put64(i.data + 16, 0x0110000800000000);
          Bytes extension(24, 0);
          store_be<std::uint32_t>(extension.data(), 1);
          store_be<std::uint64_t>(extension.data() + 8, 32);
          store_be<std::uint64_t>(extension.data() + 16, i.data);
          i.put_extension(kExtensionBitmaps, extension);
        }) == "bitmaps");
  // A snapshot without a size of its own: in version 3 as QEMU 7.2 refuses those of version 2.
  CHECK(rule([](Qcow2Image& i) {
          i.put64(i.l2, 0);
          i.put32(60, 1);
          i.put64(64, i.data);
          std::memset(i.bytes.data() + i.data, 0, i.cluster);
        }) == "snapshots");
  CHECK(grow_rule(good.bytes, kGib, "vmdk") == "unsupported-format");
}

TEST_CASE("an overlay grows over a shorter backing file, and not over a longer one") {
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
  CHECK(overlay(1 << 19) == "backing-file");
  std::filesystem::remove(base);
  create_qcow2(base, {std::nullopt, kGib});
  CHECK(overlay(kGib, "qcow2").empty());
  CHECK(overlay(kGib / 2, "qcow2") == "backing-file");
  CHECK(image_rule([&] { grow_image({{disk, "qcow2"}}, 4 * kGib, never); }) == "backing-file");
  CHECK(image_rule([&] {
          grow_image({{base, "qcow2"}, {base, "qcow2"}}, 4 * kGib, never);
        }) == "backing-file");
  CHECK_THROWS_AS(grow_image({}, kGib, never), InvalidArgument);
  std::filesystem::remove(base);
  CHECK_THROWS_AS(overlay(kGib), SystemError);
}

TEST_CASE("a raw disk grows by a hole and never shrinks") {
  const ScratchDirectory scratch;
  const Cancellation never;
  const std::string path = scratch / "raw";
  write_bytes(path, Bytes(1000, 7));
  const GrowResult grown = grow_image({{path, "raw"}}, kGib, never);
  CHECK(grown.old_virtual_size == 1000);
  CHECK(grown.virtual_size == kGib);
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK(status.st_size == static_cast<off_t>(kGib));
  CHECK(status.st_blocks * 512 <= 8192);
  CHECK(image_rule([&] { grow_image({{path, "raw"}}, 512, never); }) == "shrink");
  REQUIRE(::symlink(path.c_str(), (scratch / "link").c_str()) == 0);
  CHECK_THROWS_AS(grow_image({{scratch / "link", "raw"}}, 2 * kGib, never), SystemError);
  CHECK(image_rule([&] { grow_image({{"/dev/null", "raw"}}, kGib, never); }) == "not-regular-file");
}

TEST_CASE("one image is edited once at a time, and by none while a reader holds QEMU's locks") {
  const ScratchDirectory scratch;
  const Cancellation never;
  const std::string path = scratch / "raw";
  write_bytes(path, Bytes(512, 7));
  const FileDescriptor other(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  const auto rule = [&] { return image_rule([&] { grow_image({{path, "raw"}}, kGib, never); }); };
  {
    const ImageLock lock(other.get(), path);
    CHECK(rule() == "in-use");
  }
  // A reader of QEMU's: uses "consistent read", shares all.
  struct flock range {};
  range.l_type = F_RDLCK;
  range.l_whence = SEEK_SET;
  range.l_start = 100;
  range.l_len = 1;
  REQUIRE(::fcntl(other.get(), F_OFD_SETLK, &range) == 0);
  CHECK(rule() == "in-use");
  // libvirt's byte is not ours.
  range.l_type = F_UNLCK;
  REQUIRE(::fcntl(other.get(), F_OFD_SETLK, &range) == 0);
  range.l_type = F_WRLCK;
  range.l_start = 0;
  REQUIRE(::fcntl(other.get(), F_OFD_SETLK, &range) == 0);
  CHECK(rule().empty());
}
