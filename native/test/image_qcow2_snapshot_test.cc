// The qcow2 validator and internal snapshots: their tables stay in the file and off each other, in bounded
// time.
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "image/qcow2_validator.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

void put_snapshot(Qcow2Image& image, std::uint64_t table, std::uint64_t l1_offset, std::uint32_t l1_entries,
                  std::uint32_t extra = 16) {
  image.put32(60, 1);
  image.put64(64, table);
  image.put64(table, l1_offset);
  image.put32(table + 8, l1_entries);
  image.put16(table + 12, 1);
  image.put16(table + 14, 4);
  image.put32(table + 36, extra);
}

}  // namespace

TEST_CASE("snapshots: table and L1 tables inside the file and over nothing else") {
  const auto snapshot = [](std::uint64_t table, std::uint64_t l1, std::uint32_t entries,
                           std::uint32_t extra = 16) {
    Qcow2Image image(3, 12, 5);
    // Two of the data clusters become the snapshot's.
    image.put64(image.l2 + 3 * 8, 0);
    image.put64(image.l2 + 4 * 8, 0);
    std::memset(image.bytes.data() + 5 * 4096, 0, 5 * 4096);
    if (table > 0 && table + 40 <= image.bytes.size()) put_snapshot(image, table, l1, entries, extra);
    image.put64(64, table);
    image.put32(60, 1);
    return image.rule();
  };
  CHECK(snapshot(8 * 4096, 9 * 4096, 1).empty());
  CHECK(snapshot(8 * 4096, 0, 0).empty());
  CHECK(snapshot(0, 9 * 4096, 1) == "snapshots");
  CHECK(snapshot(8 * 4096 + 8, 9 * 4096, 1) == "alignment");
  CHECK(snapshot(100 * 4096, 9 * 4096, 1) == "truncated");
  CHECK(snapshot(8 * 4096, 9 * 4096 + 512, 1) == "alignment");
  CHECK(snapshot(8 * 4096, 100 * 4096, 1) == "outside-file");
  CHECK(snapshot(8 * 4096, 9 * 4096, 513) == "outside-file");
  CHECK(snapshot(8 * 4096, 3 * 4096, 1) == "overlap");
  CHECK(snapshot(8 * 4096, 8 * 4096, 1) == "overlap");
  CHECK(snapshot(8 * 4096, 5 * 4096, 1) == "overlap");
  CHECK(snapshot(8 * 4096, 9 * 4096, kMaxL1Bytes / 8 + 1) == "l1-table");
  CHECK(snapshot(8 * 4096, 9 * 4096, 1, kMaxSnapshotExtraBytes + 1) == "snapshots");
}

TEST_CASE("snapshots: L2 tables and their entries inside the file") {
  // Clusters 8 to 10 become the table, the L1 and an L2 table of a snapshot.
  const auto snapshot = [](const std::function<void(Qcow2Image&)>& damage, std::uint32_t entries = 1) {
    Qcow2Image image(3, 12, 6);
    for (std::uint64_t i = 3; i < 6; ++i) image.put64(image.l2 + i * 8, 0);
    std::memset(image.bytes.data() + 8 * 4096, 0, 3 * 4096);
    put_snapshot(image, 8 * 4096, 9 * 4096, entries);
    image.put64(9 * 4096, 10 * 4096);
    image.put64(10 * 4096, image.data);
    damage(image);
    return image.rule();
  };
  CHECK(snapshot([](Qcow2Image&) {}).empty());
  CHECK(snapshot([](Qcow2Image& i) { i.put64(9 * 4096, i.l2); }).empty());
  CHECK(snapshot([](Qcow2Image& i) { i.put64(9 * 4096, 10 * 4096 | 1); }) == "reserved-bits");
  CHECK(snapshot([](Qcow2Image& i) { i.put64(9 * 4096, 10 * 4096 + 512); }) == "alignment");
  CHECK(snapshot([](Qcow2Image& i) { i.put64(9 * 4096, 1 << 30); }) == "outside-file");
  CHECK(snapshot([](Qcow2Image& i) { i.put64(9 * 4096, i.l1); }) == "overlap");
  CHECK(snapshot([](Qcow2Image& i) { i.put64(9 * 4096, i.data); }) == "overlap");
  CHECK(snapshot([](Qcow2Image& i) { i.put64(10 * 4096, i.data + 512); }) == "alignment");
  CHECK(snapshot([](Qcow2Image& i) { i.put64(10 * 4096, 11 * 4096); }) == "outside-file");
  CHECK(snapshot([](Qcow2Image& i) { i.put64(10 * 4096, compressed_entry(i, 11 * 4096 - 512, 0)); }).empty());
  CHECK(snapshot([](Qcow2Image& i) { i.put64(10 * 4096, compressed_entry(i, 11 * 4096 - 512, 1)); }) ==
        "outside-file");
  for (const std::uint64_t cluster : {8U, 9U, 10U}) {
    CHECK(snapshot([=](Qcow2Image& i) { i.put16(i.block + cluster * 2, 0); }) == "refcount");
  }
  // One table in every place of the L1 table is looked at once.
  CHECK(snapshot(
            [](Qcow2Image& i) {
              for (std::uint64_t n = 0; n < 512; ++n) i.put64(9 * 4096 + n * 8, 10 * 4096);
            },
            512)
            .empty());
}

TEST_CASE("L1 tables of snapshots that are holes are not read") {
  constexpr std::uint32_t kSnapshots = 64;
  Qcow2Image image(3, 9, 2);
  // The table of the snapshots behind the image, their L1 tables behind that, one after the other.
  const std::uint64_t table = 64 * image.cluster;
  const std::uint64_t l1 = 4096 * image.cluster;
  image.put32(60, kSnapshots);
  image.put64(64, table);
  image.put64(72, kIncompatibleDirty);  // no counts to keep right
  image.bytes.resize(table + kSnapshots * 64);
  for (std::uint32_t i = 0; i < kSnapshots; ++i) {
    image.put64(table + i * 64, l1 + i * kMaxL1Bytes);
    image.put32(table + i * 64 + 8, kMaxL1Bytes / 8);
    image.put32(table + i * 64 + 36, 24);
  }
  const ScratchDirectory scratch;
  write_bytes(scratch / "image", image.bytes);
  std::filesystem::resize_file(scratch / "image", l1 + kSnapshots * kMaxL1Bytes);
  const auto bytes_read = [] {
    std::ifstream io("/proc/self/io");
    std::string name;
    std::uint64_t value = 0;
    io >> name >> value;
    return value;
  };
  const std::uint64_t before = bytes_read();
  const Cancellation never;
  validate_qcow2(SourceFile(scratch / "image"), {kAnySize}, never);
  CHECK(bytes_read() - before < 1 << 20);
}

TEST_CASE("libqcow must see the same snapshots and the same size") {
  Qcow2Image image(3, 12, 5);
  image.put64(image.l2 + 3 * 8, 0);
  image.put64(image.l2 + 4 * 8, 0);
  std::memset(image.bytes.data() + 8 * 4096, 0, 2 * 4096);
  put_snapshot(image, 8 * 4096, 9 * 4096, 1);
  const ImageVerdict verdict = inspect(image.bytes, "qcow2");
  REQUIRE(verdict.libqcow);
  CHECK(verdict.libqcow->snapshots == 1);

  // What we read and what the file says come apart: as a parser that was fooled would see it.
  const SourceFile file = in_memory(image.bytes);
  Qcow2Header header = read_qcow2_header(file);
  CHECK(identify_with_libqcow(file, header).has_value());
  const auto disagrees = [&](auto change) {
    Qcow2Header other = header;
    change(other);
    try {
      identify_with_libqcow(file, other);
      return false;
    } catch (const ImageError& error) {
      return error.rule == "parsers-disagree";
    }
  };
  CHECK(disagrees([](Qcow2Header& h) { h.virtual_size += 512; }));
  CHECK(disagrees([](Qcow2Header& h) { h.version = 2; }));
  CHECK(disagrees([](Qcow2Header& h) { h.snapshots = 0; }));
}

TEST_CASE("libqcow is not asked to hold a large L1 table") {
  Qcow2Image image;
  const SourceFile file = in_memory(image.bytes);
  Qcow2Header header = read_qcow2_header(file);
  CHECK(identify_with_libqcow(file, header).has_value());
  header.l1_entries = (16U << 20) / 8 + 1;
  CHECK_FALSE(identify_with_libqcow(file, header).has_value());
}

TEST_CASE("libqcow must see the same backing file") {
  const std::string name = "/var/lib/base image";
  Qcow2Image image;
  image.put64(8, 512);
  image.put32(16, static_cast<std::uint32_t>(name.size()));
  image.put_text(512, name);
  const SourceFile file = in_memory(image.bytes);
  Qcow2Header header = read_qcow2_header(file);
  REQUIRE(header.backing_name == name);
  CHECK(identify_with_libqcow(file, header).has_value());
  header.backing_name = "/var/lib/base";
  CHECK(image_rule([&] { identify_with_libqcow(file, header); }) == "parsers-disagree");
  header.backing_name.reset();
  CHECK(image_rule([&] { identify_with_libqcow(file, header); }) == "parsers-disagree");
}
