// Virtual PC and Azure disks: fixed (a raw disk and a footer) and dynamic (a table of blocks, the footer at
// both ends).
#include <algorithm>
#include <bit>
#include <string_view>

#include "image/byte_order.h"
#include "image/formats/disk_formats.h"
#include "image/formats/file_ranges.h"
#include "image/image_error.h"
#include "image/table_reader.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint64_t kSector = 512;
constexpr std::size_t kFooterBytes = 512;
constexpr std::size_t kFooterChecksum = 64;
constexpr std::size_t kDynamicHeaderBytes = 1024;
constexpr std::size_t kDynamicHeaderChecksum = 36;
constexpr std::uint32_t kVersion = 0x00010000;
constexpr std::uint32_t kFixed = 2;
constexpr std::uint32_t kDynamic = 3;
constexpr std::uint32_t kDifferencing = 4;
constexpr std::uint32_t kNoBlock = 0xffffffff;
/// QEMU's limits.
constexpr std::uint64_t kMaxGeometry = std::uint64_t{65535} * 16 * 255;
constexpr std::uint64_t kMaxSectors = 0xff000000;

std::string_view text(const std::uint8_t* bytes, std::size_t length) {
  return {reinterpret_cast<const char*>(bytes), length};
}

void check_sum(const std::uint8_t* bytes, std::size_t length, std::size_t at, const char* what) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < length; ++i) {
    if (i < at || i >= at + 4) sum += bytes[i];
  }
  require(~sum == load_be<std::uint32_t>(bytes + at), "checksum",
          std::string(what) + " has a wrong checksum");
}

/// As QEMU chooses it: the geometry counts, unless the image comes from a program that is known to mean the
/// size field, or the geometry is at its end.
std::uint64_t virtual_size_of(const std::uint8_t* footer) {
  constexpr std::string_view kBySize[] = {"win "sv, "qem2"sv, "d2v "sv, "tap\0"sv, "CTXS"sv};
  const bool by_size =
      std::find(std::begin(kBySize), std::end(kBySize), text(footer + 28, 4)) != std::end(kBySize);
  std::uint64_t sectors = std::uint64_t{load_be<std::uint16_t>(footer + 56)} * footer[58] * footer[59];
  if (by_size || sectors == kMaxGeometry) sectors = load_be<std::uint64_t>(footer + 48) / kSector;
  require(sectors <= kMaxSectors, "too-large", "the disk in the image is larger than the format allows");
  return sectors * kSector;
}

DiskFacts inspect_dynamic(const SourceFile& file, const std::uint8_t* footer, std::uint64_t virtual_size,
                          const Cancellation& cancel) {
  std::uint8_t header[kDynamicHeaderBytes];
  const auto header_offset = load_be<std::uint64_t>(footer + 16);
  file.read(header_offset, header, sizeof header);
  require(text(header, 8) == "cxsparse"sv, "header", "the image has no dynamic header");
  check_sum(header, sizeof header, kDynamicHeaderChecksum, "the dynamic header");
  require(load_be<std::uint32_t>(header + 24) == kVersion, "version",
          "the dynamic header is not of version 1");
  // The parent's name, and where it is looked for.
  require(std::all_of(header + 64, header + 768, [](std::uint8_t byte) { return byte == 0; }), "backing-file",
          "the image names a parent");
  const auto table = load_be<std::uint64_t>(header + 16);
  const std::uint64_t blocks = load_be<std::uint32_t>(header + 28);
  const std::uint64_t block = load_be<std::uint32_t>(header + 32);
  require(std::has_single_bit(block) && block >= kSector, "header", "the blocks have an impossible size");
  require(divide_up(virtual_size, block) <= blocks, "header", "the table is too small for the disk");
  // Before each block stands a bitmap of its sectors.
  const std::uint64_t bitmap = divide_up(divide_up(block / kSector, 8), kSector) * kSector;

  FileRanges ranges(file, virtual_size);
  ranges.add_table(file.size() - kFooterBytes, kFooterBytes);
  ranges.add_table(table, blocks * 4);
  each_number<std::uint32_t, load_be<std::uint32_t>>(
      file, table, blocks, cancel, [&](std::uint64_t index, std::uint64_t sector) {
        if (sector == kNoBlock) return;
        ranges.add_table(sector * kSector, bitmap);
        ranges.add_block(index * block, sector * kSector + bitmap, block);
      });
  return {virtual_size, ranges.data_bytes()};
}

}  // namespace

DiskFacts inspect_vhd(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  require(file.size() >= kFooterBytes, "truncated", "the file is shorter than a footer");
  std::uint8_t footer[kFooterBytes];
  file.read(file.size() - kFooterBytes, footer, sizeof footer);
  require(text(footer, 8) == "conectix"sv, "truncated", "the file does not end with a footer");
  check_sum(footer, sizeof footer, kFooterChecksum, "the footer");
  require(load_be<std::uint32_t>(footer + 12) == kVersion, "version", "the image is not of version 1");
  const auto type = load_be<std::uint32_t>(footer + 60);
  require(type != kDifferencing, "backing-file", "the image is the difference from another one");
  require(type == kFixed || type == kDynamic, "header", "the image is of type " + std::to_string(type));
  const std::uint64_t virtual_size = virtual_size_of(footer);
  check_virtual_size(virtual_size, max_virtual_bytes);

  std::uint8_t head[kFooterBytes];
  file.read(0, head, sizeof head);
  const bool has_copy = text(head, 8) == "conectix"sv;
  if (type == kDynamic) {
    require(has_copy && std::equal(footer, footer + sizeof footer, head), "header",
            "the two copies of the footer differ");
    return inspect_dynamic(file, footer, virtual_size, cancel);
  }
  // QEMU takes what begins with a footer for a dynamic disk.
  require(!has_copy, "header", "the fixed disk begins with a footer");
  require(virtual_size <= file.size() - kFooterBytes, "truncated", "the file is shorter than its disk");
  return {virtual_size, std::min(virtual_size, file.allocated())};
}

}  // namespace node_compute
