// Growing in place: after every write of it, and after every part of the writes that a power failure may
// lose, the image is good. Our own count of references says so, and qemu-img check where there is one.
#include <fcntl.h>

#include <filesystem>
#include <functional>
#include <string>

#include "grow_fixture.h"
#include "image/image_lock.h"
#include "image/qcow2_create.h"
#include "random_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

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
  const std::uint64_t seed = test_seed("grow");
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
      const int status = qemu_img_check(path);
      CHECK((status <= 0 || status == 3));
    };
    each_crash(growth, random, judge);
    CHECK(word(growth.after, 24) == that.size);
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
