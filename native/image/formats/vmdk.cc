// VMware disks in one file, sparse or stream-optimised: a header (and a footer), a descriptor, a directory of
// tables of grains.
#include <algorithm>
#include <bit>
#include <string_view>
#include <vector>

#include "image/byte_order.h"
#include "image/formats/disk_formats.h"
#include "image/formats/file_ranges.h"
#include "image/formats/vmdk_descriptor.h"
#include "image/image_error.h"
#include "image/table_reader.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

using std::string_view_literals::operator""sv;

constexpr std::uint64_t kSector = 512;
constexpr std::uint64_t kDirectoryInFooter = ~std::uint64_t{0};
constexpr std::uint32_t kEntriesPerTable = 512;
constexpr std::uint64_t kMaxGrainSectors = 0x200000;
constexpr std::uint32_t kRedundantDirectory = 1U << 1;
constexpr std::uint32_t kZeroGrains = 1U << 2;
constexpr std::uint32_t kCompressed = 1U << 16;
constexpr std::uint32_t kMarkers = 1U << 17;
/// QEMU looks for a parent in so many bytes at this place, wherever the header says that the descriptor is.
constexpr std::uint64_t kDescriptorOffset = kSector;
constexpr std::uint64_t kDescriptorBytes = 20 * kSector;
constexpr std::uint64_t kMaxDescriptorBytes = 64 * 1024;

struct Header {
  std::uint8_t raw[kSector] = {};
  std::uint32_t version() const { return load_le<std::uint32_t>(raw + 4); }
  std::uint32_t flags() const { return load_le<std::uint32_t>(raw + 8); }
  std::uint64_t capacity() const { return load_le<std::uint64_t>(raw + 12); }
  std::uint64_t grain_sectors() const { return load_le<std::uint64_t>(raw + 20); }
  std::uint64_t descriptor_sector() const { return load_le<std::uint64_t>(raw + 28); }
  std::uint64_t descriptor_sectors() const { return load_le<std::uint64_t>(raw + 36); }
  std::uint32_t table_entries() const { return load_le<std::uint32_t>(raw + 44); }
  std::uint64_t redundant_directory() const { return load_le<std::uint64_t>(raw + 48); }
  std::uint64_t directory() const { return load_le<std::uint64_t>(raw + 56); }
  std::uint64_t overhead_sectors() const { return load_le<std::uint64_t>(raw + 64); }
  std::uint16_t compression() const { return load_le<std::uint16_t>(raw + 77); }
  bool compressed() const { return compression() == 1; }
};

/// The footer, between two markers at the very end, says where the directory is. In all else that a reader
/// goes by it must be the header.
Header read_footer(const SourceFile& file, const Header& header) {
  constexpr std::uint32_t kFooterMarker = 3;
  const std::uint64_t end = file.size();
  require(end % kSector == 0 && end >= 4 * kSector, "truncated", "the file ends inside a sector");
  std::uint8_t marker[16];
  const auto check_marker = [&](std::uint64_t sectors_from_end, std::uint32_t type) {
    file.read(end - sectors_from_end * kSector, marker, sizeof marker);
    require(load_le<std::uint32_t>(marker + 8) == 0 && load_le<std::uint32_t>(marker + 12) == type,
            "truncated", "the file does not end with a footer");
  };
  check_marker(3, kFooterMarker);
  check_marker(1, 0);
  Header footer;
  file.read(end - 2 * kSector, footer.raw, sizeof footer.raw);
  require(std::equal(header.raw, header.raw + 48, footer.raw) && header.compression() == footer.compression(),
          "header", "the footer contradicts the header");
  require(footer.directory() != kDirectoryInFooter, "header", "the image does not say where its tables are");
  return footer;
}

void check_header(const Header& header, const SourceFile& file, std::uint64_t max_virtual_bytes) {
  require(header.version() >= 1 && header.version() <= 3, "version",
          "the image is of version " + std::to_string(header.version()));
  // QEMU takes an image without a size for a descriptor, and opens what it names.
  require(header.capacity() <= ~std::uint64_t{0} / kSector, "header", "the size of the disk is impossible");
  check_virtual_size(header.capacity() * kSector, max_virtual_bytes);
  require(std::has_single_bit(header.grain_sectors()) && header.grain_sectors() <= kMaxGrainSectors &&
              header.table_entries() == kEntriesPerTable,
          "header", "the grains or tables have an impossible size");
  require(header.compression() <= 1, "compression", "the image has an unknown compression");
  require(header.compressed() == ((header.flags() & kCompressed) != 0) &&
              header.compressed() == ((header.flags() & kMarkers) != 0),
          "compression", "the flags of the image contradict its compression");
  require(header.overhead_sectors() <= file.size() / kSector, "truncated", "the file ends before its data");
}

void check_descriptor(const Header& header, const SourceFile& file) {
  const std::uint64_t sectors = header.descriptor_sectors();
  require(header.descriptor_sector() * kSector == kDescriptorOffset && sectors > 0 &&
              sectors <= kMaxDescriptorBytes / kSector,
          "descriptor", "the descriptor is not where it belongs");
  const auto area = file.read_some(kDescriptorOffset, std::max(sectors * kSector, kDescriptorBytes));
  check_vmdk_descriptor({reinterpret_cast<const char*>(area.data()), area.size()}, header.capacity());
}

class Tables {
 public:
  Tables(const SourceFile& file, const Header& header, const Cancellation& cancel)
      : file_(file), header_(header), cancel_(cancel), ranges_(file, header.capacity() * kSector) {}

  std::uint64_t walk() {
    each_table(header_.directory(), [this](std::uint64_t table_index, std::uint64_t table) {
      const std::uint64_t first = table_index * kEntriesPerTable;
      each_number<std::uint32_t, load_le<std::uint32_t>>(
          file_, table, kEntriesPerTable, cancel_,
          [&](std::uint64_t index, std::uint32_t sector) { check_grain(first + index, sector); });
    });
    // Read by QEMU with the first one, used by it when it writes.
    if ((header_.flags() & kRedundantDirectory) != 0) {
      each_table(header_.redundant_directory(), [](std::uint64_t, std::uint64_t) {});
    }
    return ranges_.data_bytes();
  }

 private:
  template <class Visit>
  void each_table(std::uint64_t directory_sector, Visit visit) {
    const std::uint64_t tables =
        divide_up(divide_up(header_.capacity(), header_.grain_sectors()), kEntriesPerTable);
    if (directory_sector > file_.size() / kSector)
      refuse("outside-file", "the directory is not inside the file");
    ranges_.add_table(directory_sector * kSector, tables * 4);
    each_number<std::uint32_t, load_le<std::uint32_t>>(
        file_, directory_sector * kSector, tables, cancel_, [&](std::uint64_t index, std::uint64_t sector) {
          if (sector == 0) return;
          ranges_.add_table(sector * kSector, kEntriesPerTable * 4);
          visit(index, sector * kSector);
        });
  }

  void check_grain(std::uint64_t index, std::uint64_t sector) {
    if (sector == 0 || (sector == 1 && (header_.flags() & kZeroGrains) != 0)) return;
    const std::uint64_t grain = header_.grain_sectors() * kSector;
    if (!header_.compressed()) return ranges_.add_block(index * grain, sector * kSector, grain);
    // The marker: which sector of the disk this is, and how many bytes follow.
    constexpr std::uint64_t kMarkerBytes = 12;
    std::uint8_t marker[kMarkerBytes];
    if (sector * kSector >= file_.size()) refuse("outside-file", "a grain is not inside the file");
    file_.read(sector * kSector, marker, sizeof marker);
    const std::uint64_t stored = load_le<std::uint32_t>(marker + 8);
    if (stored == 0 || stored > 2 * grain) refuse("compressed-cluster", "a grain has an impossible length");
    // Each begins a sector of its own.
    ranges_.add_compressed(sector * kSector, divide_up(kMarkerBytes + stored, kSector) * kSector, grain);
  }

  const SourceFile& file_;
  const Header& header_;
  const Cancellation& cancel_;
  FileRanges ranges_;
};

}  // namespace

DiskFacts inspect_vmdk(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  const auto start = file.read_some(0, 4);
  const std::string_view magic(reinterpret_cast<const char*>(start.data()), start.size());
  require(magic == "KDMV"sv, "data-file", "the image describes a disk whose data is in other files");
  Header header;
  file.read(0, header.raw, sizeof header.raw);
  check_header(header, file, max_virtual_bytes);
  check_descriptor(header, file);
  if (header.directory() == kDirectoryInFooter) {
    header = read_footer(file, header);
    check_header(header, file, max_virtual_bytes);
  }
  return {header.capacity() * kSector, Tables(file, header, cancel).walk()};
}

}  // namespace node_compute
