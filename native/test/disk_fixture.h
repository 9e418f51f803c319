// Small good images of the formats beside qcow2, made byte by byte; for unit tests and fuzzers.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "image/byte_order.h"
#include "image/formats/crc32c.h"

namespace node_compute::test {

using Bytes = std::vector<std::uint8_t>;

struct Sample {
  std::string format;
  Bytes bytes;
  std::uint64_t virtual_size = 0;
  std::uint64_t data_bytes = 0;
  /// Makes the checksums right again after a change; nothing where the format has none.
  void (*seal)(Bytes&) = [](Bytes&) {};

  void le16(std::size_t at, std::uint16_t value) { little(at, value, 2); }
  void le32(std::size_t at, std::uint32_t value) { little(at, value, 4); }
  void le64(std::size_t at, std::uint64_t value) { little(at, value, 8); }
  void be32(std::size_t at, std::uint32_t value) { store_be(bytes.data() + at, value); }
  void be64(std::size_t at, std::uint64_t value) { store_be(bytes.data() + at, value); }
  void text(std::size_t at, const std::string& value) {
    std::memcpy(bytes.data() + at, value.data(), value.size());
  }

 private:
  void little(std::size_t at, std::uint64_t value, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i) bytes[at + i] = static_cast<std::uint8_t>(value >> 8 * i);
  }
};

inline std::string vmdk_descriptor(const std::string& type, const std::string& extent) {
  return "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\ncreateType=\"" + type +
         "\"\n\n# Extent description\n" + extent + "\n\n#DDB\nddb.adapterType = \"ide\"\n";
}

inline void put_vmdk_header(Sample& disk, std::size_t at, std::uint32_t flags, std::uint64_t directory) {
  disk.text(at, "KDMV");
  disk.le32(at + 4, (flags & 1U << 16) != 0 ? 3 : 1);
  disk.le32(at + 8, flags);
  disk.le64(at + 12, 4096);
  disk.le64(at + 20, 8);
  disk.le64(at + 28, 1);
  disk.le64(at + 36, 20);
  disk.le32(at + 44, 512);
  disk.le64(at + 48, 21);
  disk.le64(at + 56, directory);
  disk.le64(at + 64, 32);
  disk.text(at + 73, "\n \r\n");
  disk.le16(at + 77, (flags & 1U << 16) != 0 ? 1 : 0);
}

/// Sectors: header, descriptor from 1, directories at 21 and 26 with a table behind each, two grains from 32.
inline Sample sparse_vmdk() {
  Sample disk{"vmdk", Bytes(48 * 512), 4096 * 512, 2 * 4096};
  put_vmdk_header(disk, 0, 7, 26);
  disk.text(512, vmdk_descriptor("monolithicSparse", "RW 4096 SPARSE \"disk.vmdk\""));
  disk.le32(21 * 512, 22);
  disk.le32(26 * 512, 27);
  disk.le32(27 * 512, 32);
  disk.le32(27 * 512 + 4, 1);
  disk.le32(27 * 512 + 8, 40);
  return disk;
}

/// Sectors: header, descriptor from 1, a grain at 32, its table at 33, the directory at 37, footer at 39.
inline Sample stream_vmdk() {
  Sample disk{"vmdk", Bytes(41 * 512), 4096 * 512, 4096};
  put_vmdk_header(disk, 0, 0x30001, ~std::uint64_t{0});
  disk.text(512, vmdk_descriptor("streamOptimized", "RW 4096 SPARSE \"disk.vmdk\""));
  disk.le32(32 * 512 + 8, 100);
  disk.le32(33 * 512, 32);
  disk.le32(37 * 512, 33);
  disk.le64(38 * 512, 1);
  disk.le32(38 * 512 + 12, 3);
  put_vmdk_header(disk, 39 * 512, 0x30001, 37);
  return disk;
}

inline void put_vhd_sum(Bytes& bytes, std::size_t from, std::size_t length, std::size_t at) {
  if (from + length > bytes.size()) return;
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < length; ++i) {
    if (i < at || i >= at + 4) sum += bytes[from + i];
  }
  store_be(bytes.data() + from + at, ~sum);
}

inline void put_vhd_footer(Sample& disk, std::size_t at, std::uint32_t type) {
  disk.text(at, "conectix");
  disk.be32(at + 12, 0x10000);
  disk.be64(at + 16, type == 2 ? ~std::uint64_t{0} : 512);
  disk.text(at + 28, "qem2");
  disk.be64(at + 48, disk.virtual_size);
  disk.be32(at + 60, type);
}

inline Sample fixed_vhd() {
  Sample disk{"vhd", Bytes(65536 + 512, 7), 65536, 65536, [](Bytes& bytes) {
                if (bytes.size() >= 512) put_vhd_sum(bytes, bytes.size() - 512, 512, 64);
              }};
  std::memset(disk.bytes.data() + 65536, 0, 512);
  put_vhd_footer(disk, 65536, 2);
  disk.seal(disk.bytes);
  return disk;
}

/// Footer, dynamic header at 512, table at 1536, blocks of 4 KiB behind a sector of bitmap from 2048 on,
/// footer.
inline Sample dynamic_vhd() {
  Sample disk{"vhd", Bytes(2048 + 2 * 4608 + 512), 65536, 8192, [](Bytes& bytes) {
                put_vhd_sum(bytes, 0, 512, 64);
                put_vhd_sum(bytes, 512, 1024, 36);
                if (bytes.size() >= 512) put_vhd_sum(bytes, bytes.size() - 512, 512, 64);
              }};
  put_vhd_footer(disk, 0, 3);
  put_vhd_footer(disk, disk.bytes.size() - 512, 3);
  disk.text(512, "cxsparse");
  disk.be64(520, ~std::uint64_t{0});
  disk.be64(528, 1536);
  disk.be32(536, 0x10000);
  disk.be32(540, 16);
  disk.be32(544, 4096);
  std::memset(disk.bytes.data() + 1536, 0xff, 512);
  disk.be32(1536, 4);
  disk.be32(1540, 13);
  disk.seal(disk.bytes);
  return disk;
}

/// Headers at 64 and 128 KiB, regions at 192 KiB, the table of blocks at 1 MiB, metadata at 2 MiB, one block
/// at 3 MiB.
inline Sample vhdx() {
  constexpr std::size_t kKib = 1024;
  constexpr std::size_t kMib = 1024 * kKib;
  Sample disk{"vhdx", Bytes(4 * kMib), 3 * kMib, kMib, [](Bytes& bytes) {
                for (const auto& [at, length] :
                     {std::pair{64 * kKib, 4 * kKib}, {128 * kKib, 4 * kKib}, {192 * kKib, 64 * kKib}}) {
                  if (at + length > bytes.size()) continue;
                  const std::uint32_t crc = crc32c_without(bytes.data() + at, length, 4);
                  for (std::size_t i = 0; i < 4; ++i) {
                    bytes[at + 4 + i] = static_cast<std::uint8_t>(crc >> 8 * i);
                  }
                }
              }};
  const auto id = [&disk](std::size_t at, std::uint32_t first, std::uint32_t second, std::uint64_t rest) {
    disk.le32(at, first);
    disk.le16(at + 4, static_cast<std::uint16_t>(second >> 16));
    disk.le16(at + 6, static_cast<std::uint16_t>(second));
    disk.be64(at + 8, rest);
  };
  disk.text(0, "vhdxfile");
  for (const std::size_t header : {64 * kKib, 128 * kKib}) {
    disk.text(header, "head");
    disk.le64(header + 8, header / kKib);
    disk.le16(header + 66, 1);
  }
  disk.text(192 * kKib, "regi");
  disk.le32(192 * kKib + 8, 2);
  const auto region = [&](std::size_t at, std::uint64_t offset, std::uint32_t length) {
    disk.le64(at + 16, offset);
    disk.le32(at + 24, length);
    disk.le32(at + 28, 1);
  };
  id(192 * kKib + 16, 0x2dc27766, 0xf6234200, 0x9d64115e9bfd4a08);
  region(192 * kKib + 16, kMib, 4096);
  id(192 * kKib + 48, 0x8b7ca206, 0x47904b9a, 0xb8fe575f050f886e);
  region(192 * kKib + 48, 2 * kMib, 128 * kKib);
  disk.text(2 * kMib, "metadata");
  disk.le16(2 * kMib + 10, 5);
  const auto item = [&](std::size_t index, std::uint32_t offset) {
    const std::size_t at = 2 * kMib + 32 + index * 32;
    disk.le32(at + 16, offset);
    disk.le32(at + 24, 4);
    return at;
  };
  id(item(0, 64 * kKib), 0xcaa16737, 0xfa364d43, 0xb3b633f0aa44e76b);
  id(item(1, 64 * kKib + 8), 0x2fa54224, 0xcd1b4876, 0xb2115dbed83bf4b8);
  id(item(2, 64 * kKib + 16), 0xbeca12ab, 0xb2e64523, 0x93efc309e000c746);
  id(item(3, 64 * kKib + 32), 0x8141bf1d, 0xa96f4709, 0xba47f233a8faab5f);
  id(item(4, 64 * kKib + 36), 0xcda348c7, 0x445d4471, 0x9cc9e9885251c556);
  disk.le32(2 * kMib + 64 * kKib, kMib);
  disk.le64(2 * kMib + 64 * kKib + 8, 3 * kMib);
  disk.le32(2 * kMib + 64 * kKib + 32, 512);
  disk.le32(2 * kMib + 64 * kKib + 36, 512);
  disk.le64(kMib + 8, 3 * kMib | 6);
  disk.seal(disk.bytes);
  return disk;
}

/// The map at 512, one block of 1 MiB at 1024.
inline Sample vdi() {
  constexpr std::uint32_t kMib = 1 << 20;
  Sample disk{"vdi", Bytes(1024 + kMib), 3 * kMib, kMib};
  disk.text(0, "<<< Disk Image >>>\n");
  disk.text(0x40, "\x7f\x10\xda\xbe");
  disk.le32(0x44, 0x10001);
  disk.le32(0x48, 0x180);
  disk.le32(0x4c, 1);
  disk.le32(0x154, 512);
  disk.le32(0x158, 1024);
  disk.le32(0x168, 512);
  disk.le64(0x170, 3 * kMib);
  disk.le32(0x178, kMib);
  disk.le32(0x180, 3);
  disk.le32(512, 0xffffffff);
  disk.le32(516, 0);
  disk.le32(520, 0xfffffffe);
  return disk;
}

/// Clusters of 4 KiB: header, L1 table, L2 table, data.
inline Sample qed() {
  Sample disk{"qed", Bytes(4 * 4096), 65536, 4096};
  disk.text(0, "QED");
  disk.le32(4, 4096);
  disk.le32(8, 1);
  disk.le32(12, 1);
  disk.le64(40, 4096);
  disk.le64(48, 65536);
  disk.le64(4096, 8192);
  disk.le64(8192, 1);
  disk.le64(8200, 12288);
  return disk;
}

/// Clusters of 4 KiB: header and L1 table, L2 table, plain data, compressed data.
inline Sample qcow1() {
  Sample disk{"qcow", Bytes(3 * 4096 + 100), 65536, 2 * 4096};
  disk.text(0, "QFI\xfb");
  disk.be32(4, 1);
  disk.be64(24, 65536);
  disk.bytes[32] = 12;
  disk.bytes[33] = 9;
  disk.be64(40, 48);
  disk.be64(48, 4096);
  disk.be64(4096, 8192);
  disk.be64(4104, std::uint64_t{1} << 63 | std::uint64_t{100} << 51 | 12288);
  return disk;
}

/// The key material of eight slots behind 4 KiB, of which the first is in use; the disk behind that.
inline Sample luks(std::size_t disk_bytes) {
  constexpr std::uint32_t kSlotSectors = 504;
  constexpr std::uint32_t kHeaderSectors = 8 + 8 * kSlotSectors;
  Sample disk{"luks", Bytes(kHeaderSectors * 512), disk_bytes, disk_bytes};
  disk.bytes.resize(disk.bytes.size() + disk_bytes, 0x5a);
  disk.text(0, "LUKS\xba\xbe");
  disk.bytes[7] = 1;
  disk.text(8, "aes");
  disk.text(40, "xts-plain64");
  disk.text(72, "sha256");
  disk.be32(104, kHeaderSectors);
  disk.be32(108, 64);
  disk.be32(164, 1000);
  for (std::uint32_t slot = 0; slot < 8; ++slot) {
    const std::size_t at = 208 + slot * 48;
    disk.be32(at, slot == 0 ? 0x00ac71f3 : 0x0000dead);
    disk.be32(at + 4, slot == 0 ? 1000 : 0);
    disk.be32(at + 40, 8 + slot * kSlotSectors);
    disk.be32(at + 44, 4000);
  }
  return disk;
}

/// Blocks of 4 KiB from 4096 on; `extended` counts in blocks, else in sectors.
inline Sample parallels(bool extended = true) {
  Sample disk{"ploop", Bytes(3 * 4096), 65536, 2 * 4096};
  disk.text(0, extended ? "WithouFreSpacExt" : "WithoutFreeSpace");
  disk.le32(16, 2);
  disk.le32(28, 8);
  disk.le32(32, 16);
  disk.le64(36, 128);
  disk.le32(48, 8);
  disk.le32(64, extended ? 1 : 8);
  disk.le32(72, extended ? 2 : 16);
  return disk;
}

}  // namespace node_compute::test
