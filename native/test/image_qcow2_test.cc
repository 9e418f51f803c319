// The qcow2 validator: good images of every kind pass, and each rule has the smallest image that breaks it.
#include <unistd.h>

#include <functional>
#include <string>

#include "executor/failure.h"
#include "image/qcow2_validator.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

std::string broken(const std::function<void(Qcow2Image&)>& damage, std::uint32_t version = 3) {
  Qcow2Image image(version);
  damage(image);
  return image.rule();
}

/// 32 data clusters of 16 KiB, extended L2 entries.
Qcow2Image extended() {
  Qcow2Image image(3, 14, 4);
  image.put64(72, kIncompatibleExtendedL2);
  image.put32(100, 112);
  for (std::uint64_t i = 4; i > 0; --i) {
    const std::uint64_t entry = image.get64(image.l2 + (i - 1) * 8);
    image.put64(image.l2 + (i - 1) * 16, entry);
    image.put64(image.l2 + (i - 1) * 16 + 8, 0xffffffff);
  }
  return image;
}

}  // namespace

TEST_CASE("good images of both versions and all cluster sizes pass") {
  for (const std::uint32_t version : {2U, 3U}) {
    for (unsigned bits = 9; bits <= 21; ++bits) {
      CAPTURE(version);
      CAPTURE(bits);
      const Qcow2Image image(version, bits);
      const ImageVerdict verdict = inspect(image.bytes, "qcow2");
      CHECK(verdict.format == "qcow2");
      CHECK(verdict.virtual_size == image.virtual_size);
      CHECK(verdict.data_bytes == std::min(3 * image.cluster, image.virtual_size));
      REQUIRE(verdict.qcow2);
      CHECK(verdict.qcow2->version == version);
      REQUIRE(verdict.libqcow);
      CHECK(verdict.libqcow->version == version);
      CHECK(verdict.libqcow->virtual_size == image.virtual_size);
    }
  }
}

TEST_CASE("header fields") {
  CHECK(broken([](Qcow2Image& i) { i.put32(4, 4); }) == "version");
  CHECK(broken([](Qcow2Image& i) { i.put32(4, 0); }) == "version");
  CHECK(broken([](Qcow2Image& i) { i.put64(8, 200); }) == "backing-file");
  CHECK(broken([](Qcow2Image& i) { i.put32(20, 8); }) == "header");
  CHECK(broken([](Qcow2Image& i) { i.put32(20, 22); }) == "header");
  CHECK(broken([](Qcow2Image& i) { i.put64(24, 0); }) == "empty");
  CHECK(broken([](Qcow2Image& i) { i.put64(24, kAnySize + 1); }) == "too-large");
  CHECK(broken([](Qcow2Image& i) { i.put32(32, 1); }) == "encrypted");
  CHECK(broken([](Qcow2Image& i) { i.put32(32, 2); }) == "encrypted");
  CHECK(broken([](Qcow2Image& i) { i.put32(36, 0); }) == "l1-table");
  CHECK(broken([](Qcow2Image& i) { i.put32(36, (kMaxL1Bytes / 8) + 1); }) == "l1-table");
  CHECK(broken([](Qcow2Image& i) { i.put32(56, 0); }) == "refcount-table");
  CHECK(broken([](Qcow2Image& i) { i.put32(56, kMaxRefcountTableBytes / 4096 + 1); }) == "refcount-table");
  CHECK(broken([](Qcow2Image& i) { i.put32(60, kMaxSnapshots + 1); }) == "snapshots");
  CHECK(broken([](Qcow2Image& i) { i.put32(96, 7); }) == "header");
  CHECK(broken([](Qcow2Image& i) { i.put32(100, 96); }) == "header");
  CHECK(broken([](Qcow2Image& i) { i.put32(100, 108); }) == "header");
  CHECK(broken([](Qcow2Image& i) { i.put32(100, 4104); }) == "header");
  CHECK(Qcow2Image().rule(1 << 20).empty());
  CHECK(Qcow2Image().rule((1 << 20) - 1) == "too-large");
}

TEST_CASE("a file that ends inside the header is truncated") {
  const Qcow2Image image;
  for (const std::size_t length : {8U, 71U, 72U, 103U}) {
    CHECK(rule_of(Bytes(image.bytes.begin(), image.bytes.begin() + static_cast<long>(length))) ==
          "truncated");
  }
}

TEST_CASE("feature bits") {
  CHECK(broken([](Qcow2Image& i) { i.put64(72, kIncompatibleDirty); }).empty());
  CHECK(broken([](Qcow2Image& i) { i.put64(72, kIncompatibleCorrupt); }) == "corrupt");
  CHECK(broken([](Qcow2Image& i) { i.put64(72, kIncompatibleDataFile); }) == "data-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(88, kAutoclearRawDataFile); }) == "header");
  for (unsigned bit = 5; bit < 64; ++bit) {
    CAPTURE(bit);
    CHECK(broken([bit](Qcow2Image& i) { i.put64(72, std::uint64_t{1} << bit); }) == "unknown-feature");
    CHECK(broken([bit](Qcow2Image& i) { i.put64(80, std::uint64_t{1} << bit); }).empty());
    CHECK(broken([bit](Qcow2Image& i) { i.put64(88, std::uint64_t{1} << bit); }).empty());
  }
  const auto compression = [](std::uint64_t feature, std::uint8_t type) {
    return broken([=](Qcow2Image& i) {
      i.put64(72, feature);
      i.put32(100, 112);
      i.bytes[104] = type;
    });
  };
  CHECK(compression(kIncompatibleCompression, 1).empty());
  CHECK(compression(kIncompatibleCompression, 0) == "compression");
  CHECK(compression(0, 1) == "compression");
  CHECK(compression(kIncompatibleCompression, 2) == "compression");
  CHECK(broken([](Qcow2Image& i) { i.put64(72, kIncompatibleExtendedL2); }) == "header");
}

TEST_CASE("header extensions") {
  for (const std::uint32_t version : {2U, 3U}) {
    const auto extension = [version](std::uint32_t type, const Bytes& content) {
      return broken([&](Qcow2Image& i) { i.put_extension(type, content); }, version);
    };
    CHECK(extension(kExtensionBackingFormat, {'r', 'a', 'w'}).empty());
    CHECK(extension(0x12345678, Bytes(100, 1)).empty());
    CHECK(broken([](Qcow2Image& i) { i.put32(i.version >= 3 ? 108 : 76, 8192); }, version) ==
          "header-extension");
    CHECK(extension(kExtensionEncryption, Bytes(16, 0)) == "encrypted");
    CHECK(extension(kExtensionDataFile, {'/', 'e', 't', 'c'}) == "data-file");
    CHECK(broken(
              [version](Qcow2Image& i) {
                i.put_extension(0x12345678, Bytes(8, 1));
                i.put32(version >= 3 ? 108 : 76, 0xfffffff8);
              },
              version) == "header-extension");
    CHECK(broken(
              [](Qcow2Image& i) {
                i.put_extension(0x12345678, Bytes(8, 1));
                const std::uint64_t second = (i.version >= 3 ? 104 : 72) + 16;
                i.put32(second, kExtensionDataFile);
                i.put32(second + 4, 1);
              },
              version) == "data-file");
  }
}

TEST_CASE("tables: inside the file, aligned, not over each other") {
  CHECK(broken([](Qcow2Image& i) { i.put64(40, i.l1 + 8); }) == "alignment");
  CHECK(broken([](Qcow2Image& i) { i.put64(40, 1 << 30); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(40, 0xfffffffffffff000); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(40, 0); }) == "overlap");
  CHECK(broken([](Qcow2Image& i) { i.put64(40, i.table); }) == "overlap");
  CHECK(broken([](Qcow2Image& i) { i.put64(48, i.table + 512); }) == "alignment");
  CHECK(broken([](Qcow2Image& i) { i.put64(48, 1 << 30); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put32(56, 100); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.table, i.block + 1); }) == "reserved-bits");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.table, i.block + 512); }) == "alignment");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.table, 1 << 30); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.table + 8, i.block); }) == "overlap");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.table + 8, i.table); }) == "overlap");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l1, i.l2 | 1); }) == "reserved-bits");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l1, i.l2 | kCompressed); }) == "reserved-bits");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l1, i.l2 + 512); }) == "alignment");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l1, 1 << 30); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l1, i.l1); }) == "overlap");
  CHECK(broken([](Qcow2Image& i) {
          i.put32(36, 2);
          i.put64(i.l1 + 8, i.data);
          std::memset(i.bytes.data() + i.data, 0, i.cluster);
        }) == "overlap");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l1, kCopied); }).empty());
}

TEST_CASE("one L2 table in two places of the L1 table is refused: it makes walks without end") {
  CHECK(broken([](Qcow2Image& i) {
          i.put32(36, 2);
          i.put64(i.l1 + 8, i.l2 | kCopied);
        }) == "overlap");
}

TEST_CASE("a table may end the file in the middle of its cluster, and not before its own end") {
  Qcow2Image image(3, 12, 0);
  image.put64(image.l1, 0);
  image.bytes.resize(image.l1 + 8);
  CHECK(image.rule().empty());
  image.bytes.resize(image.l1 + 7);
  CHECK(image.rule() == "outside-file");
}

TEST_CASE("data clusters") {
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l2, i.data + 512); }) == "alignment");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l2, 1 << 30); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l2, kOffsetMask & ~std::uint64_t{4095}); }) == "outside-file");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l2, i.data | 2); }) == "reserved-bits");
  CHECK(broken([](Qcow2Image& i) { i.put64(i.l2, i.data | std::uint64_t{1} << 56); }) == "reserved-bits");
  for (const std::uint64_t cluster : {1U, 2U, 3U, 4U}) {
    CHECK(broken([=](Qcow2Image& i) { i.put64(i.l2, cluster * 4096); }) == "overlap");
  }
  CHECK(broken([](Qcow2Image& i) { i.bytes.pop_back(); }) == "outside-file");
}

TEST_CASE("zero clusters: flagged in version 3, reserved in version 2") {
  const auto zero = [](Qcow2Image& i) { i.put64(i.l2, kZero); };
  const auto zero_with_place = [](Qcow2Image& i) { i.put64(i.l2, i.data | kZero | kCopied); };
  CHECK(broken(zero).empty());
  CHECK(broken(zero_with_place).empty());
  CHECK(broken(zero, 2) == "reserved-bits");
  Qcow2Image image;
  zero_with_place(image);
  CHECK(inspect(image.bytes, "qcow2").data_bytes == 2 * 4096);
}

TEST_CASE("one cluster for two places of the disk is refused unless the image counts it as shared") {
  Qcow2Image image;
  image.put64(image.l2 + 8, image.data | kCopied);
  CHECK(image.rule() == "shared-cluster");
  image.put64(image.l2 + 8, image.data);
  CHECK(image.rule() == "shared-cluster");
  image.put64(image.l2, image.data);
  CHECK(image.rule() == "shared-cluster");
  image.put16(image.block + 5 * 2, 2);
  CHECK(image.rule().empty());
  CHECK(inspect(image.bytes, "qcow2").data_bytes == 3 * 4096);
  image.put64(72, kIncompatibleDirty);
  CHECK(image.rule() == "shared-cluster");
}

TEST_CASE("compressed clusters") {
  const auto with = [](std::uint64_t offset, std::uint64_t extra, std::uint64_t flags = 0) {
    return broken([=](Qcow2Image& i) { i.put64(i.l2, compressed_entry(i, offset, extra) | flags); });
  };
  const std::uint64_t free_cluster = 5 * 4096;
  CHECK(with(free_cluster + 100, 3).empty());
  CHECK(with(free_cluster, 0, kCopied) == "l2-entry");
  CHECK(with(0, 0) == "overlap");
  CHECK(with(4 * 4096 + 4000, 0) == "overlap");
  CHECK(with(1 << 30, 0) == "outside-file");
  CHECK(with(7 * 4096 + 3584, 0) == "shared-cluster");
  // Up to the very end, and a sector beyond it; the last cluster holds no plain data here.
  Qcow2Image image;
  image.put64(image.l2 + 2 * 8, compressed_entry(image, 7 * 4096 + 3584, 0));
  CHECK(image.rule().empty());
  image.put64(image.l2 + 2 * 8, compressed_entry(image, 7 * 4096 + 3584, 1));
  CHECK(image.rule() == "outside-file");
  image.put64(image.l2 + 2 * 8, compressed_entry(image, 7 * 4096 + 3584, 0));
  image.bytes.resize(image.bytes.size() - 100);
  CHECK(image.rule().empty());
  image.bytes.resize(image.bytes.size() - 412);
  CHECK(image.rule() == "outside-file");
}

TEST_CASE("compressed clusters share a cluster of the file freely, and count in full as data") {
  Qcow2Image image;
  for (std::uint64_t i = 0; i < 8; ++i)
    image.put64(image.l2 + i * 8, compressed_entry(image, image.data + i * 512, 0));
  CHECK(image.rule() == "shared-cluster");
  // Uses are counted up to five.
  image.put16(image.block + 5 * 2, 4);
  CHECK(image.rule() == "shared-cluster");
  image.put16(image.block + 5 * 2, 8);
  CHECK(image.rule().empty());
  CHECK(inspect(image.bytes, "qcow2").data_bytes == 8 * 4096);
}

TEST_CASE("extended L2 entries") {
  const Qcow2Image good = extended();
  CHECK(good.rule().empty());
  const ImageVerdict verdict = inspect(good.bytes, "qcow2");
  CHECK(verdict.data_bytes == 4 * 16384);
  CHECK_FALSE(verdict.libqcow);
  const auto second_half = [](std::uint64_t bitmap, std::uint64_t entry_flags = 0, bool keep_offset = true) {
    Qcow2Image image = extended();
    image.put64(image.l2, (keep_offset ? image.data : 0) | entry_flags);
    image.put64(image.l2 + 8, bitmap);
    return image.rule();
  };
  CHECK(second_half(0).empty());
  CHECK(second_half(std::uint64_t{0xffffffff} << 32).empty());
  CHECK(second_half(std::uint64_t{1} << 32 | 1) == "l2-entry");
  CHECK(second_half(1, 0, false) == "l2-entry");
  CHECK(second_half(std::uint64_t{1} << 32, 0, false).empty());
  CHECK(second_half(0, kZero) == "reserved-bits");
  Qcow2Image packed = extended();
  packed.put64(packed.l2, compressed_entry(packed, packed.data, 0));
  packed.put64(packed.l2 + 8, 1);
  CHECK(packed.rule() == "l2-entry");
  packed.put64(packed.l2 + 8, 0);
  CHECK(packed.rule().empty());
}

TEST_CASE("a file may end behind the last subcluster that holds data") {
  Qcow2Image image = extended();
  image.put64(image.l2 + 3 * 16 + 8, 0b101);
  image.bytes.resize(image.bytes.size() - 16384 + 3 * 512);
  CHECK(image.rule().empty());
  image.bytes.pop_back();
  CHECK(image.rule() == "outside-file");
}

TEST_CASE("a file may end where the disk ends inside its last cluster") {
  Qcow2Image image;
  image.put64(24, 2 * 4096 + 512);
  image.bytes.resize(image.bytes.size() - 4096 + 512);
  CHECK(image.rule().empty());
  image.bytes.pop_back();
  CHECK(image.rule() == "outside-file");
}

TEST_CASE("a sparse file of absurd length is refused before memory is taken for it") {
  const Qcow2Image image(3, 9);
  SourceFile small = in_memory(image.bytes);
  FileDescriptor copy(dup(small.descriptor()));
  REQUIRE(::ftruncate(copy.get(), std::int64_t{1} << 40) == 0);
  const SourceFile file(std::move(copy), "image");
  const Cancellation never;
  CHECK_THROWS_AS(validate_qcow2(file, {kAnySize}, never), ImageError);
}

TEST_CASE("a validation that is cancelled stops") {
  Cancellation cancelled;
  cancelled.cancel();
  const SourceFile file = in_memory(Qcow2Image().bytes);
  CHECK_THROWS_AS(validate_qcow2(file, {kAnySize}, cancelled), Cancelled);
  CHECK_THROWS_AS(inspect_file(file, "qcow2", kAnySize, cancelled), Cancelled);
}
