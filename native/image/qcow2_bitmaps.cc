#include "image/qcow2_bitmaps.h"

#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/qcow2_format.h"

namespace node_compute {

using namespace qcow2;

namespace {

constexpr std::size_t kFixedBytes = 24;
constexpr std::uint32_t kInUse = 1U << 0;
constexpr std::uint32_t kAutomatic = 1U << 1;
constexpr std::uint8_t kDirtyTracking = 1;
constexpr unsigned kMinGranularityBits = 9;
constexpr unsigned kMaxGranularityBits = 31;
constexpr std::size_t kMaxNameBytes = 1023;
constexpr std::uint64_t kMaxBitmapBytes = std::uint64_t{512} << 20;

/// Entries of the table of a bitmap that was saved: one bit for each `granularity` of the disk, in whole
/// words of 64, in whole clusters.
std::uint64_t table_entries(const Qcow2Header& header, std::uint64_t granularity) {
  const std::uint64_t bits = divide_up(header.virtual_size / 512 * 512, granularity);
  return divide_up(divide_up(bits, 64) * 8, header.cluster_size());
}

}  // namespace

void each_bitmap(const SourceFile& file, const Qcow2Header& header,
                 const std::function<void(const Qcow2Bitmap&)>& visit) {
  std::uint32_t bitmaps = 0;
  std::uint64_t rest = header.bitmap_directory_bytes;
  for (std::uint64_t offset = header.bitmap_directory_offset; rest > 0;) {
    require(rest >= kFixedBytes, "bitmaps", "the bitmap directory ends inside an entry");
    require(++bitmaps <= header.bitmaps, "bitmaps", "the directory has more bitmaps than the header says");
    std::uint8_t entry[kFixedBytes];
    file.read(offset, entry, sizeof entry);
    const auto flags = load_be<std::uint32_t>(entry + 12);
    const std::uint8_t type = entry[16];
    const unsigned granularity_bits = entry[17];
    const std::size_t name_bytes = load_be<std::uint16_t>(entry + 18);
    const std::uint64_t extra_bytes = load_be<std::uint32_t>(entry + 20);
    require(type == kDirtyTracking && (flags & ~(kInUse | kAutomatic)) == 0 &&
                granularity_bits >= kMinGranularityBits && granularity_bits <= kMaxGranularityBits &&
                name_bytes > 0 && name_bytes <= kMaxNameBytes && extra_bytes == 0,
            "bitmaps", "a bitmap has impossible properties");
    const std::uint64_t bytes = divide_up(kFixedBytes + name_bytes, 8) * 8;
    require(bytes <= rest, "bitmaps", "the bitmap directory ends inside an entry");
    Qcow2Bitmap bitmap;
    bitmap.name.resize(name_bytes);
    file.read(offset + kFixedBytes, bitmap.name.data(), name_bytes);
    bitmap.table_offset = load_be<std::uint64_t>(entry);
    bitmap.table_entries = load_be<std::uint32_t>(entry + 8);
    bitmap.granularity = std::uint64_t{1} << granularity_bits;
    bitmap.in_use = (flags & kInUse) != 0;
    bitmap.automatic = (flags & kAutomatic) != 0;
    require(bitmap.table_offset != 0 && bitmap.table_entries != 0 &&
                bitmap.table_entries <= kMaxBitmapBytes / header.cluster_size(),
            "bitmaps", "a bitmap has no table, or one of impossible size");
    // One that was not saved may be older than the size of the disk.
    require(bitmap.in_use || bitmap.table_entries == table_entries(header, bitmap.granularity), "bitmaps",
            "the table of a bitmap does not fit the disk");
    visit(bitmap);
    offset += bytes;
    rest -= bytes;
  }
  require(bitmaps == header.bitmaps, "bitmaps", "the directory has fewer bitmaps than the header says");
}

}  // namespace node_compute
