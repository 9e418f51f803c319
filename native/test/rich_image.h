// A good qcow2 image that has all of it: snapshots that share tables and data, bitmaps, compressed and zero
// clusters, extended L2 entries.
#pragma once

#include "image/compressor.h"
#include "image/qcow2_refcounts.h"
#include "image_fixture.h"

namespace node_compute::test {

/// Version 3, two snapshots, two bitmaps. Extended L2 entries need clusters of 16 KiB, else they have 4 KiB.
struct RichImage : Qcow2Image {
  /// Where each table begins, and how many bytes of it mean something.
  struct Table {
    std::uint64_t offset;
    std::uint64_t bytes;
  };
  Table active_l2;
  Table snapshot_table;
  Table snapshot_l1[2];
  Table snapshot_l2;
  Table bitmap_directory;
  Table bitmap_tables[2];

  RichImage(bool extended, Compression compression)
      : Qcow2Image(3, extended ? 14 : 12, 13),
        active_l2{l2, 6 * (extended ? 16U : 8U)},
        snapshot_table{part(3), 2 * 72},
        snapshot_l1{{part(4), 8}, {part(5), 8}},
        snapshot_l2{part(6), 6 * (extended ? 16U : 8U)},
        bitmap_directory{part(9), 2 * 32},
        bitmap_tables{{part(10), 8}, {part(11), 8}},
        entry_(extended ? 16 : 8) {
    using namespace qcow2;
    put64(72, (extended ? kIncompatibleExtendedL2 : 0) |
                  (compression == Compression::zstd ? kIncompatibleCompression : 0));
    put32(100, kHeaderBytesNow);
    bytes[104] = compression == Compression::zstd ? 1 : 0;
    for (std::uint64_t at = l2; at < data; ++at) bytes[at] = 0;
    for (std::uint64_t at = part(3); at < bytes.size(); ++at) bytes[at] = 0;
    put_data(compression);
    put_snapshots();
    put_bitmaps();
    put_counts();
  }

  /// As if it never had any.
  void drop_bitmaps() {
    put64(88, 0);
    put32(112, qcow2::kExtensionEnd);
    put32(116, 0);
    for (std::uint64_t index = 9; index < 13; ++index) put16(block + (data / cluster + index) * 2, 0);
  }

 private:
  std::uint64_t part(std::uint64_t index) const noexcept { return data + index * cluster; }
  bool extended() const noexcept { return entry_ == 16; }

  /// `allocated` and `zeroes` are subclusters, of extended entries alone.
  void put_l2(std::uint64_t table_offset, std::uint64_t index, std::uint64_t entry,
              std::uint64_t allocated = 0, std::uint64_t zeroes = 0) {
    put64(table_offset + index * entry_, entry);
    if (extended()) put64(table_offset + index * entry_ + 8, zeroes << 32 | allocated);
  }

  /// The guest's clusters: shared data, own data, compressed, compressed, zeros, own data.
  void put_data(Compression compression) {
    using namespace qcow2;
    constexpr std::uint64_t kAll = 0xffffffff;
    const std::uint64_t packed = put_compressed(compression);
    put_l2(l2, 0, part(0), kAll);
    put_l2(l2, 1, part(1) | kCopied, kAll & ~std::uint64_t{0xf0}, 0x30);
    put_l2(l2, 2, entry_of(part(8), packed));
    put_l2(l2, 3, entry_of(part(8) + packed, packed));
    put_l2(l2, 4, extended() ? 0 : kZero, 0, kAll);
    put_l2(l2, 5, part(2) | kCopied, kAll);
    put_l2(snapshot_l2.offset, 0, part(0), kAll);
    put_l2(snapshot_l2.offset, 1, part(7), kAll);
    put_l2(snapshot_l2.offset, 2, entry_of(part(8), packed));
    put_l2(snapshot_l2.offset, 5, extended() ? 0 : kZero, 0, kAll);
  }

  std::uint64_t entry_of(std::uint64_t offset, std::uint64_t stream) const {
    return compressed_entry(*this, offset, (offset + stream - 1) / 512 - offset / 512);
  }

  /// The same stream twice; gives its bytes.
  std::uint64_t put_compressed(Compression compression) {
    Bytes guest(cluster, 7);
    for (std::size_t i = 0; i < guest.size(); i += 3) guest[i] = static_cast<std::uint8_t>(i * i >> 7);
    const std::uint64_t packed =
        Compressor(compression).run(guest.data(), guest.size(), bytes.data() + part(8), cluster / 2);
    REQUIRE(packed > 0);
    std::memcpy(bytes.data() + part(8) + packed, bytes.data() + part(8), packed);
    return packed;
  }

  /// Both have the same L2 table.
  void put_snapshots() {
    put32(60, 2);
    put64(64, snapshot_table.offset);
    for (std::uint64_t i = 0; i < 2; ++i) {
      const std::uint64_t at = snapshot_table.offset + i * 72;
      put64(at, snapshot_l1[i].offset);
      put32(at + 8, 1);
      put16(at + 12, 1);
      put16(at + 14, 4);
      put32(at + 36, 24);
      put64(at + 48, virtual_size);
      put64(at + 56, ~std::uint64_t{0});
      put_text(at + 64, i == 0 ? "1one " : "2two ");
      put64(snapshot_l1[i].offset, snapshot_l2.offset);
    }
  }

  /// One has bits of its own, the other is all ones.
  void put_bitmaps() {
    Bytes extension(24, 0);
    store_be<std::uint32_t>(extension.data(), 2);
    store_be<std::uint64_t>(extension.data() + 8, bitmap_directory.bytes);
    store_be<std::uint64_t>(extension.data() + 16, bitmap_directory.offset);
    put32(112, qcow2::kExtensionBitmaps);
    put32(116, static_cast<std::uint32_t>(extension.size()));
    std::memcpy(bytes.data() + 120, extension.data(), extension.size());
    put64(88, qcow2::kAutoclearBitmaps);
    for (std::uint64_t i = 0; i < 2; ++i) {
      const std::uint64_t at = bitmap_directory.offset + i * 32;
      put64(at, bitmap_tables[i].offset);
      put32(at + 8, 1);
      bytes[at + 16] = 1;
      bytes[at + 17] = 16;
      put16(at + 18, 4);
      put_text(at + 24, i == 0 ? "bits" : "ones");
      put64(bitmap_tables[i].offset, i == 0 ? part(12) : qcow2::kBitmapAllOnes);
    }
    bytes[part(12)] = 0x55;
  }

  /// What a snapshot refers to counts once more for it, as QEMU counts.
  void put_counts() {
    const auto count = [this](std::uint64_t index, std::uint16_t uses) {
      put16(block + (data / cluster + index) * 2, uses);
    };
    count(0, 3);
    count(6, 2);
    count(7, 2);
    count(8, 4);
  }

  std::uint64_t entry_;
};

}  // namespace node_compute::test
