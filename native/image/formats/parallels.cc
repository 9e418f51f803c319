// Parallels disks, which Glance calls ploop: a header, and a table of blocks right behind it.
#include "image/byte_order.h"
#include "image/formats/disk_formats.h"
#include "image/formats/file_ranges.h"
#include "image/image_error.h"
#include "image/table_reader.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kHeaderBytes = 64;
constexpr std::uint32_t kInUse = 0x746f6e59;
/// QEMU's limits.
constexpr std::uint32_t kMaxBlockSectors = 0x7fffffff / 513;
constexpr std::uint32_t kMaxBlocks = 0x7fffffff / 4;

}  // namespace

DiskFacts inspect_parallels(const SourceFile& file, std::uint64_t max_virtual_bytes,
                            const Cancellation& cancel) {
  std::uint8_t header[kHeaderBytes];
  file.read(0, header, sizeof header);
  // Without, the size has 32 bits and the table counts in sectors instead of blocks.
  const bool extended = header[15] == 't';
  const auto version = load_le<std::uint32_t>(header + 16);
  const std::uint64_t block_sectors = load_le<std::uint32_t>(header + 28);
  const std::uint64_t blocks = load_le<std::uint32_t>(header + 32);
  const std::uint64_t sectors =
      extended ? load_le<std::uint64_t>(header + 36) : load_le<std::uint32_t>(header + 36);
  require(version == 2, "version", "the image is of version " + std::to_string(version) + ", not 2");
  require(block_sectors > 0 && block_sectors <= kMaxBlockSectors && blocks <= kMaxBlocks, "header",
          "the blocks of the image have an impossible size or number");
  require(sectors <= ~std::uint64_t{0} / kSector, "header", "the size of the disk is impossible");
  check_virtual_size(sectors * kSector, max_virtual_bytes);
  require(divide_up(sectors, block_sectors) <= blocks, "header", "the table is too small for the disk");
  require(load_le<std::uint32_t>(header + 44) != kInUse, "not-closed", "the image was not closed");
  require(load_le<std::uint64_t>(header + 56) == 0, "unknown-feature",
          "the image has extensions that are not known here");

  FileRanges ranges(file, sectors * kSector);
  ranges.add_table(kHeaderBytes, blocks * 4);
  each_number<std::uint32_t, load_le<std::uint32_t>>(
      file, kHeaderBytes, blocks, cancel, [&](std::uint64_t index, std::uint64_t entry) {
        if (entry == 0) return;
        const std::uint64_t sector = entry * (extended ? block_sectors : 1);
        ranges.add_block(index * block_sectors * kSector, sector * kSector, block_sectors * kSector);
      });
  return {sectors * kSector, ranges.data_bytes()};
}

}  // namespace node_compute
