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

}  // namespace

void each_bitmap(const SourceFile& file, const Qcow2Header& header,
                 const std::function<void(const Qcow2Bitmap&)>& visit) {
  std::uint32_t bitmaps = 0;
  std::uint64_t rest = header.bitmap_directory_bytes;
  for (std::uint64_t offset = header.bitmap_directory_offset; rest > 0;) {
    require(rest >= kFixedBytes, "bitmaps", "the bitmap directory ends inside an entry");
    require(++bitmaps <= kMaxBitmaps, "bitmaps", "the image has too many bitmaps");
    std::uint8_t entry[kFixedBytes];
    file.read(offset, entry, sizeof entry);
    const auto flags = load_be<std::uint32_t>(entry + 12);
    const std::uint8_t type = entry[16];
    const unsigned granularity_bits = entry[17];
    const std::size_t name_bytes = load_be<std::uint16_t>(entry + 18);
    const std::uint64_t extra_bytes = load_be<std::uint32_t>(entry + 20);
    require(type == kDirtyTracking && granularity_bits >= kMinGranularityBits &&
                granularity_bits <= kMaxGranularityBits && name_bytes > 0 && name_bytes <= kMaxNameBytes,
            "bitmaps", "a bitmap has impossible properties");
    const std::uint64_t bytes = divide_up(kFixedBytes + extra_bytes + name_bytes, 8) * 8;
    require(bytes <= rest, "bitmaps", "the bitmap directory ends inside an entry");
    Qcow2Bitmap bitmap;
    bitmap.name.resize(name_bytes);
    file.read(offset + kFixedBytes + extra_bytes, bitmap.name.data(), name_bytes);
    bitmap.table_offset = load_be<std::uint64_t>(entry);
    bitmap.table_entries = load_be<std::uint32_t>(entry + 8);
    bitmap.granularity = std::uint64_t{1} << granularity_bits;
    bitmap.in_use = (flags & kInUse) != 0;
    bitmap.automatic = (flags & kAutomatic) != 0;
    visit(bitmap);
    offset += bytes;
    rest -= bytes;
  }
}

}  // namespace node_compute
