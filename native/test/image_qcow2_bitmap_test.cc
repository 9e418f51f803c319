// The qcow2 validator and bitmaps: directory, tables and bits stay in the file and off everything else.
#include <functional>
#include <string>

#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

constexpr std::uint64_t kDirectory = 8 * 4096;
constexpr std::uint64_t kTable = 9 * 4096;
constexpr std::uint64_t kBits = 10 * 4096;

/// Three of the data clusters become the bitmap's.
std::string rule(const BitmapPlace& place, const std::function<void(Qcow2Image&)>& damage = {}) {
  Qcow2Image image(3, 12, 6);
  for (std::uint64_t i = 3; i < 6; ++i) image.put64(image.l2 + i * 8, 0);
  std::memset(image.bytes.data() + image.data, 0, 6 * 4096);
  put_bitmap(image, place);
  image.put64(kTable, kBits);
  if (damage) damage(image);
  return image.rule();
}

std::string rule(const std::function<void(Qcow2Image&)>& damage) {
  return rule(BitmapPlace{kDirectory, kTable}, damage);
}

}  // namespace

TEST_CASE("bitmaps: the directory is in a place of its own and says what it holds") {
  CHECK(rule({kDirectory, kTable}).empty());
  CHECK(rule({kDirectory, kTable}, [](Qcow2Image& i) {
          // Ignored, as QEMU ignores it: written by who knows no bitmaps.
          i.put64(88, 0);
          i.put64(104 + 8 + 16, 7);
        }).empty());
  CHECK(rule({kDirectory + 512, kTable}) == "alignment");
  CHECK(rule({100 * 4096, kTable}) == "outside-file");
  CHECK(rule({3 * 4096, kTable}) == "overlap");
  CHECK(rule({.directory = kDirectory, .table = kTable, .directory_bytes = 0}) == "bitmaps");
  CHECK(rule({.directory = kDirectory, .table = kTable, .directory_bytes = 40}) == "bitmaps");
  CHECK(rule({.directory = kDirectory, .table = kTable, .bitmaps = 0}) == "bitmaps");
  CHECK(rule({.directory = kDirectory, .table = kTable, .bitmaps = 2}) == "bitmaps");
  CHECK(rule([](Qcow2Image& i) { i.put32(104 + 8 + 4, 1); }) == "bitmaps");
}

TEST_CASE("bitmaps: each entry of the directory is one that QEMU reads") {
  CHECK(rule({.directory = kDirectory, .table = kTable, .flags = 3}).empty());
  CHECK(rule({.directory = kDirectory, .table = kTable, .flags = 4}) == "bitmaps");
  CHECK(rule({.directory = kDirectory, .table = kTable, .extra = 8}) == "bitmaps");
  CHECK(rule({.directory = kDirectory, .table = kTable, .extra = 0xffffffff}) == "bitmaps");
  CHECK(rule({.directory = kDirectory, .table = kTable, .granularity_bits = 9}).empty());
  CHECK(rule({.directory = kDirectory, .table = kTable, .granularity_bits = 8}) == "bitmaps");
  CHECK(rule({.directory = kDirectory, .table = kTable, .granularity_bits = 32}) == "bitmaps");
  CHECK(rule([](Qcow2Image& i) { i.bytes[kDirectory + 16] = 2; }) == "bitmaps");
}

TEST_CASE("bitmaps: tables are in a place of their own and fit the disk") {
  const auto table = [](std::uint64_t offset, std::uint32_t entries = 1, std::uint32_t flags = 0) {
    return rule({.directory = kDirectory, .table = offset, .entries = entries, .flags = flags});
  };
  CHECK(table(0) == "bitmaps");
  CHECK(table(kTable + 512) == "alignment");
  CHECK(table(1 << 30) == "outside-file");
  CHECK(table(3 * 4096) == "overlap");
  CHECK(table(kDirectory) == "overlap");
  CHECK(table(5 * 4096) == "overlap");
  CHECK(table(kTable, 0) == "bitmaps");
  CHECK(table(kTable, 2) == "bitmaps");
  // One that was not saved may be of another size.
  CHECK(table(kTable, 2, 1).empty());
  CHECK(table(kTable, 0, 1) == "bitmaps");
  CHECK(table(kTable, 1025, 1) == "outside-file");
  CHECK(table(kTable, 0xffffffff, 1) == "bitmaps");
}

TEST_CASE("bitmaps: their bits are in clusters of their own") {
  const auto entry = [](std::uint64_t value) {
    return rule([value](Qcow2Image& i) { i.put64(kTable, value); });
  };
  CHECK(entry(0).empty());
  CHECK(entry(kBitmapAllOnes).empty());
  CHECK(entry(kBits | kBitmapAllOnes) == "reserved-bits");
  CHECK(entry(kBits | 2) == "reserved-bits");
  CHECK(entry(kBits | kCopied) == "reserved-bits");
  CHECK(entry(kBits + 512) == "alignment");
  CHECK(entry(11 * 4096) == "outside-file");
  CHECK(entry(kTable) == "overlap");
  CHECK(entry(4096) == "overlap");
  CHECK(entry(5 * 4096) == "overlap");
  for (const std::uint64_t cluster : {8U, 9U, 10U}) {
    CHECK(rule([=](Qcow2Image& i) { i.put16(i.block + cluster * 2, 0); }) == "refcount");
  }
}
