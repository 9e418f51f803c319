#include "image/disk_map.h"

#include <algorithm>

#include "executor/failure.h"

namespace node_compute {

namespace {

constexpr std::size_t kMostExtents = 4096;
constexpr std::uint64_t kRangeBytes = 8 << 20;

void add(Extents& extents, Extent extent) {
  if (extent.kind == Extent::Kind::compressed) {
    if (!extents.empty() && extents.back().kind == extent.kind && extents.back().layer == extent.layer) {
      extents.back().bytes += extent.bytes;
      return;
    }
    extent.file_offset = extent.compressed_bytes = extent.skip = 0;
  }
  append(extents, extent);
}

}  // namespace

Extents map_disk(const Disk& disk, std::uint64_t offset, const Cancellation& cancel) {
  Extents extents;
  while (offset < disk.size() && extents.size() < kMostExtents) {
    if (cancel.cancelled()) throw Cancelled();
    // A large range costs nothing where there are no tables for it.
    const std::uint64_t end = std::min(std::max(disk.next(offset), offset + kRangeBytes), disk.size());
    for (const Extent& extent : disk.map(offset, end - offset)) add(extents, extent);
    offset = end;
  }
  return extents;
}

}  // namespace node_compute
