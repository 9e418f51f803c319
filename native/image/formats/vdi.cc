// VirtualBox disks: a header, and a table that gives each block of the disk its number in the file.
#include <algorithm>

#include "image/byte_order.h"
#include "image/formats/disk_formats.h"
#include "image/formats/file_ranges.h"
#include "image/image_error.h"
#include "image/table_reader.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kSector = 512;
/// The only size that QEMU reads.
constexpr std::uint64_t kBlockBytes = 1 << 20;
constexpr std::uint32_t kMaxBlocks = 0x3fffffff;
constexpr std::uint32_t kTypeDynamic = 1;
constexpr std::uint32_t kTypeFixed = 2;
/// From here on nothing is stored: never written, or discarded.
constexpr std::uint32_t kNoBlock = 0xfffffffe;

bool is_null(const std::uint8_t* uuid) {
  return std::all_of(uuid, uuid + 16, [](std::uint8_t byte) { return byte == 0; });
}

}  // namespace

DiskFacts inspect_vdi(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  std::uint8_t header[512];
  file.read(0, header, sizeof header);
  const auto field = [&header](std::size_t at) { return load_le<std::uint32_t>(header + at); };
  require(field(0x44) == 0x00010001, "version", "the image is not of version 1.1");
  const std::uint32_t type = field(0x4c);
  require(type == kTypeDynamic || type == kTypeFixed, "backing-file",
          "the image is of type " + std::to_string(type) + ", which builds on another image");
  require(is_null(header + 0x1a8) && is_null(header + 0x1b8), "backing-file", "the image names a parent");
  const std::uint64_t table = field(0x154);
  const std::uint64_t data = field(0x158);
  const std::uint64_t blocks = field(0x180);
  require(field(0x168) == kSector && field(0x178) == kBlockBytes && field(0x17c) == 0 && blocks <= kMaxBlocks,
          "header", "the sectors or blocks of the image have an impossible size or number");
  require(table % kSector == 0 && data % kSector == 0, "alignment", "a part of the image is not aligned");
  const auto disk = load_le<std::uint64_t>(header + 0x170);
  require(disk <= blocks * kBlockBytes, "header", "the table is too small for the disk");
  const std::uint64_t virtual_size = divide_up(disk, kSector) * kSector;
  check_virtual_size(virtual_size, max_virtual_bytes);

  FileRanges ranges(file, virtual_size);
  ranges.add_table(table, blocks * 4);
  each_number<std::uint32_t, load_le<std::uint32_t>>(
      file, table, blocks, cancel, [&](std::uint64_t index, std::uint64_t entry) {
        if (entry >= kNoBlock) return;
        ranges.add_block(index * kBlockBytes, data + entry * kBlockBytes, kBlockBytes);
      });
  return {virtual_size, ranges.data_bytes()};
}

}  // namespace node_compute
