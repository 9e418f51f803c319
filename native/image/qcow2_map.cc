#include "image/qcow2_map.h"

#include <algorithm>
#include <vector>

#include "image/byte_order.h"
#include "image/qcow2_format.h"

namespace node_compute {

using namespace qcow2;

namespace {

/// Of a table, in one read.
constexpr std::uint64_t kPieceBytes = 64 << 10;

}  // namespace

void Qcow2Map::read(std::uint64_t offset, std::uint64_t bytes, Extents& extents) const {
  const std::uint64_t end = offset + bytes;
  while (offset < end) {
    const std::uint64_t table_end = std::min(end, (offset / table_span() + 1) * table_span());
    read_table(offset, table_end, extents);
    offset = table_end;
  }
}

void Qcow2Map::read_table(std::uint64_t offset, std::uint64_t end, Extents& extents) const {
  std::uint8_t raw[8];
  file_.read(header_.l1_offset + offset / table_span() * 8, raw, sizeof raw);
  const std::uint64_t table = load_be<std::uint64_t>(raw) & kOffsetMask;
  if (table == 0) {
    append(extents, {Extent::Kind::absent, offset, end - offset});
    return;
  }
  const std::uint64_t cluster = header_.cluster_size();
  const std::uint64_t entry_bytes = header_.l2_entry_bytes();
  const unsigned parts = header_.extended_l2() ? kSubclusters : 1;
  const std::uint64_t part_bytes = cluster / parts;
  std::vector<std::uint8_t> entries;
  while (offset < end) {
    const std::uint64_t first = offset / cluster;
    const std::uint64_t count = std::min(divide_up(end, cluster) - first, kPieceBytes / entry_bytes);
    entries.resize(count * entry_bytes);
    file_.read(table + first % header_.l2_entries() * entry_bytes, entries.data(), entries.size());
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint8_t* at = entries.data() + i * entry_bytes;
      const auto entry = load_be<std::uint64_t>(at);
      const auto bitmap = header_.extended_l2() ? load_be<std::uint64_t>(at + 8) : 0;
      const std::uint64_t cluster_offset = (first + i) * cluster;
      const bool whole = (entry & kCompressed) != 0;
      for (unsigned part = 0; part < (whole ? 1 : parts); ++part) {
        const std::uint64_t begin = cluster_offset + part * part_bytes;
        const std::uint64_t from = std::max(begin, offset);
        const std::uint64_t to = std::min(begin + (whole ? cluster : part_bytes), end);
        if (from >= to) continue;
        Extent extent = decode(entry, bitmap, part);
        extent.offset = from;
        extent.bytes = to - from;
        if (extent.kind == Extent::Kind::compressed) extent.skip = from - begin;
        if (extent.kind == Extent::Kind::data) extent.file_offset += from - cluster_offset;
        append(extents, extent);
      }
    }
    offset = (first + count) * cluster;
  }
}

Extent Qcow2Map::decode(std::uint64_t entry, std::uint64_t bitmap, unsigned subcluster) const {
  using Kind = Extent::Kind;
  Extent extent;
  if ((entry & kCompressed) != 0) {
    const auto [offset, bytes] = header_.compressed_extent(entry);
    const std::uint64_t rest = offset < file_.size() ? file_.size() - offset : 0;
    extent.kind = Kind::compressed;
    extent.file_offset = offset;
    extent.compressed_bytes = std::min(bytes, rest);
    return extent;
  }
  const std::uint64_t offset = entry & kOffsetMask;
  if (header_.extended_l2()) {
    const bool allocated = (bitmap >> subcluster & 1) != 0;
    const bool zeroed = (bitmap >> (kSubclusters + subcluster) & 1) != 0;
    extent.kind = zeroed ? Kind::zeros : allocated && offset != 0 ? Kind::data : Kind::absent;
  } else if (header_.version >= 3 && (entry & kZero) != 0) {  // the bit is reserved in version 2
    extent.kind = Kind::zeros;
  } else {
    extent.kind = offset != 0 ? Kind::data : Kind::absent;
  }
  if (extent.kind == Kind::data) extent.file_offset = offset;
  return extent;
}

std::uint64_t Qcow2Map::next(std::uint64_t offset) const {
  const std::uint64_t tables = divide_up(header_.virtual_size, table_span());
  std::vector<std::uint8_t> entries;
  for (std::uint64_t table = offset / table_span(); table < tables;) {
    // Mostly the first one exists, and the rest would be read for nothing.
    const std::uint64_t count = std::min(tables - table, entries.empty() ? 8 : kPieceBytes / 8);
    entries.resize(count * 8);
    file_.read(header_.l1_offset + table * 8, entries.data(), entries.size());
    for (std::uint64_t i = 0; i < count; ++i, ++table) {
      if ((load_be<std::uint64_t>(entries.data() + i * 8) & kOffsetMask) != 0) {
        return std::max(offset, table * table_span());
      }
    }
  }
  return header_.virtual_size;
}

}  // namespace node_compute
