// Hyper-V disks: two headers, a table of regions, a table of metadata, and a table of blocks.
#include <algorithm>
#include <array>
#include <bit>
#include <optional>
#include <string_view>
#include <vector>

#include "image/byte_order.h"
#include "image/formats/crc32c.h"
#include "image/formats/disk_formats.h"
#include "image/formats/file_ranges.h"
#include "image/image_error.h"
#include "image/table_reader.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::size_t kTableBytes = 64 * 1024;
constexpr std::size_t kEntryBytes = 32;
constexpr std::uint32_t kMaxEntries = 2047;
constexpr std::uint64_t kMaxVirtualBytes = std::uint64_t{64} << 40;
constexpr std::uint64_t kSectorsPerBitmapBlock = 1 << 23;
/// QEMU reads disks with sectors of 4096 bytes at the wrong places.
constexpr std::uint32_t kSector = 512;
constexpr std::uint32_t kHasParent = 2;

constexpr std::string_view kBat = "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08"sv;
constexpr std::string_view kMetadata = "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e"sv;
constexpr std::string_view kParameters = "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b"sv;
constexpr std::string_view kSize = "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8"sv;
constexpr std::string_view kPage83 = "\xab\x12\xca\xbe\xe6\xb2\x23\x45\x93\xef\xc3\x09\xe0\x00\xc7\x46"sv;
constexpr std::string_view kLogicalSector =
    "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f"sv;
constexpr std::string_view kPhysicalSector =
    "\xc7\x48\xa3\xcd\x5d\x44\x71\x44\x9c\xc9\xe9\x88\x52\x51\xc5\x56"sv;
constexpr std::string_view kParentLocator =
    "\x2d\x5f\xd3\xa8\x0b\xb3\x4d\x45\xab\xf7\xd3\xd8\x48\x34\xab\x0c"sv;

std::string_view text(const std::uint8_t* bytes, std::size_t length) {
  return {reinterpret_cast<const char*>(bytes), length};
}

/// Nothing where the header is none: one of the two may be half written.
std::optional<std::vector<std::uint8_t>> read_header(const SourceFile& file, std::uint64_t offset) {
  std::vector<std::uint8_t> header(4096);
  file.read(offset, header.data(), header.size());
  const bool good =
      text(header.data(), 4) == "head"sv && load_le<std::uint16_t>(header.data() + 66) == 1 &&
      crc32c_without(header.data(), header.size(), 4) == load_le<std::uint32_t>(header.data() + 4);
  return good ? std::optional(std::move(header)) : std::nullopt;
}

/// A log with entries is to be replayed, which only a writer can do.
void check_log(const SourceFile& file, FileRanges& ranges) {
  const auto first = read_header(file, kTableBytes);
  const auto second = read_header(file, 2 * kTableBytes);
  require(first || second, "header", "the image has no good header");
  const auto sequence = [](const auto& header) { return load_le<std::uint64_t>(header->data() + 8); };
  require(!first || !second || sequence(first) != sequence(second) || *first == *second, "header",
          "the two headers contradict each other");
  const auto& current = !second || (first && sequence(first) >= sequence(second)) ? *first : *second;
  require(std::all_of(current.data() + 48, current.data() + 64, [](std::uint8_t byte) { return byte == 0; }),
          "dirty-log", "the image has a log that was not replayed");
  ranges.add_table(load_le<std::uint64_t>(current.data() + 72), load_le<std::uint32_t>(current.data() + 68));
}

struct Region {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

struct Regions {
  Region bat;
  Region metadata;
};

Regions read_regions(const SourceFile& file, FileRanges& ranges) {
  std::vector<std::uint8_t> table(kTableBytes);
  file.read(3 * kTableBytes, table.data(), table.size());
  require(text(table.data(), 4) == "regi"sv, "header", "the image has no region table");
  require(crc32c_without(table.data(), table.size(), 4) == load_le<std::uint32_t>(table.data() + 4),
          "checksum", "the region table has a wrong checksum");
  const auto count = load_le<std::uint32_t>(table.data() + 8);
  require(count <= kMaxEntries, "header", "the region table is too long");
  Regions regions;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint8_t* entry = table.data() + 16 + i * kEntryBytes;
    const std::string_view id = text(entry, 16);
    const Region region{load_le<std::uint64_t>(entry + 16), load_le<std::uint32_t>(entry + 24)};
    require(region.offset % kMib == 0 && region.offset >= kMib && region.bytes > 0, "alignment",
            "a region has an impossible place");
    ranges.add_table(region.offset, region.bytes);
    require(id == kBat || id == kMetadata || load_le<std::uint32_t>(entry + 28) == 0, "unknown-feature",
            "the image needs a region that is not known here");
    if (id != kBat && id != kMetadata) continue;
    Region& known = id == kBat ? regions.bat : regions.metadata;
    require(known.bytes == 0, "header", "a region is named twice");
    known = region;
  }
  require(regions.bat.bytes > 0 && regions.metadata.bytes > 0, "header", "the image lacks a region");
  return regions;
}

struct Disk {
  std::uint64_t virtual_size = 0;
  std::uint64_t block = 0;
};

/// Where a metadata item stands in its region, relative to it; each must be there once.
class MetadataTable {
 public:
  MetadataTable(const SourceFile& file, const Region& region)
      : file_(file), region_(region), table_(kTableBytes) {
    require(region.bytes >= kTableBytes, "header", "the metadata region is too short");
    file.read(region.offset, table_.data(), table_.size());
    require(text(table_.data(), 8) == "metadata"sv, "header", "the image has no metadata table");
    count_ = load_le<std::uint16_t>(table_.data() + 10);
    require(count_ <= kMaxEntries, "header", "the metadata table is too long");
    check_items();
  }

  template <class Number>
  Number read(std::string_view id) const {
    const std::uint8_t* found = nullptr;
    for (std::uint32_t i = 0; i < count_; ++i) {
      if (id_of(i) != id) continue;
      require(found == nullptr, "header", "a metadata item is named twice");
      found = entry(i);
    }
    require(found != nullptr, "header", "the image lacks a metadata item");
    const std::uint64_t offset = load_le<std::uint32_t>(found + 16);
    require(offset >= kTableBytes && offset <= region_.bytes - sizeof(Number), "outside-file",
            "a metadata item is not inside its region");
    std::uint8_t raw[sizeof(Number)];
    file_.read(region_.offset + offset, raw, sizeof raw);
    return load_le<Number>(raw);
  }

 private:
  const std::uint8_t* entry(std::uint32_t index) const { return table_.data() + (index + 1) * kEntryBytes; }
  std::string_view id_of(std::uint32_t index) const { return text(entry(index), 16); }

  void check_items() const {
    constexpr std::uint32_t kRequired = 4;
    constexpr std::array kKnown{kParameters, kSize, kPage83, kLogicalSector, kPhysicalSector};
    for (std::uint32_t i = 0; i < count_; ++i) {
      require(id_of(i) != kParentLocator, "backing-file", "the image names a parent");
      const bool known = std::find(kKnown.begin(), kKnown.end(), id_of(i)) != kKnown.end();
      require(known || (load_le<std::uint32_t>(entry(i) + 24) & kRequired) == 0, "unknown-feature",
              "the image needs metadata that is not known here");
    }
  }

  const SourceFile& file_;
  const Region region_;
  std::vector<std::uint8_t> table_;
  std::uint32_t count_ = 0;
};

Disk read_metadata(const SourceFile& file, const Region& region) {
  const MetadataTable table(file, region);
  // The block size, then flags.
  const auto parameters = table.read<std::uint64_t>(kParameters);
  require((parameters >> 32 & kHasParent) == 0, "backing-file", "the image has a parent");
  const Disk disk{table.read<std::uint64_t>(kSize), parameters & 0xffffffff};
  require(std::has_single_bit(disk.block) && disk.block >= kMib && disk.block <= 256 * kMib, "header",
          "the blocks have an impossible size");
  require(table.read<std::uint32_t>(kLogicalSector) == kSector, "unknown-feature",
          "the sectors of the disk have another size than 512 bytes");
  require(disk.virtual_size <= kMaxVirtualBytes && disk.virtual_size % kSector == 0, "header",
          "the size of the disk is impossible");
  return disk;
}

/// A block that is stored: whether the entry says so.
bool is_present(std::uint64_t entry) {
  constexpr std::uint64_t kFull = 6;
  constexpr std::uint64_t kPartly = 7;
  constexpr std::uint64_t kUnknown = 4;
  const std::uint64_t state = entry & 7;
  if (state == kPartly) refuse("backing-file", "a block is partly in another image");
  if (state == kUnknown) refuse("reserved-bits", "in the state of a block");
  return state == kFull;
}

}  // namespace

DiskFacts inspect_vhdx(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  // The place of the tables does not depend on the size of the disk.
  FileRanges places(file, 0);
  check_log(file, places);
  const Regions regions = read_regions(file, places);
  const Disk disk = read_metadata(file, regions.metadata);
  check_virtual_size(disk.virtual_size, max_virtual_bytes);

  // Behind so many blocks stands an entry for the bitmap of their sectors, which only a child has.
  const std::uint64_t blocks_per_bitmap = kSectorsPerBitmapBlock * kSector / disk.block;
  const std::uint64_t blocks = divide_up(disk.virtual_size, disk.block);
  const std::uint64_t entries = blocks + (blocks - 1) / blocks_per_bitmap;
  require(entries <= regions.bat.bytes / 8, "header", "the table is too small for the disk");

  FileRanges ranges(file, disk.virtual_size);
  each_number<std::uint64_t, load_le<std::uint64_t>>(
      file, regions.bat.offset, entries, cancel, [&](std::uint64_t index, std::uint64_t entry) {
        const std::uint64_t bitmaps = index / (blocks_per_bitmap + 1);
        if (index % (blocks_per_bitmap + 1) == blocks_per_bitmap || !is_present(entry)) return;
        const std::uint64_t offset = entry & ~(kMib - 1);
        if (offset < kMib) refuse("overlap", "a block lies over the headers");
        ranges.add_block((index - bitmaps) * disk.block, offset, disk.block);
      });
  return {disk.virtual_size, ranges.data_bytes()};
}

}  // namespace node_compute
