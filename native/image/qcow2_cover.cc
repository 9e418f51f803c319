#include "image/qcow2_cover.h"

#include <algorithm>
#include <utility>

#include "image/byte_order.h"
#include "image/qcow2_format.h"

namespace node_compute {

using namespace qcow2;

namespace {

constexpr std::uint64_t kAllSubclusters = 0xffffffff;

}  // namespace

Qcow2Cover::Qcow2Cover(const SourceFile& file, const Qcow2Header& header, std::uint64_t begin,
                       std::uint64_t end, std::vector<std::uint8_t> split)
    : file_(file),
      header_(header),
      begin_(begin / header.cluster_size()),
      end_(divide_up(end, header.cluster_size())),
      split_(std::move(split)) {}

/// 0 where there is none.
std::uint64_t Qcow2Cover::old_table(std::uint64_t l1_index) const {
  if (l1_index >= header_.l1_entries) return 0;
  std::uint8_t raw[8];
  file_.read(header_.l1_offset + l1_index * 8, raw, sizeof raw);
  return load_be<std::uint64_t>(raw) & kOffsetMask;
}

std::vector<std::uint8_t> Qcow2Cover::read_table(std::uint64_t offset) const {
  std::vector<std::uint8_t> table(static_cast<std::size_t>(header_.cluster_size()));
  if (offset != 0) file_.read(offset, table.data(), table.size());
  return table;
}

std::vector<std::uint8_t> Qcow2Cover::table(std::uint64_t l1_index, std::uint64_t split_offset) const {
  std::vector<std::uint8_t> table = read_table(old_table(l1_index));
  const std::uint64_t first = l1_index * header_.l2_entries();
  const std::uint64_t end = std::min(end_, first + header_.l2_entries());
  for (std::uint64_t cluster = std::max(begin_, first); cluster < end; ++cluster) {
    std::uint8_t* at = table.data() + (cluster - first) * header_.l2_entry_bytes();
    const auto old = load_be<std::uint64_t>(at);
    // A plain cluster stays allocated, as QEMU's own zero clusters may.
    const std::uint64_t kept = (old & kCompressed) != 0 ? 0 : old;
    const std::uint64_t entry = is_split(cluster) ? split_offset | kCopied : kept;
    if (header_.extended_l2()) {
      store_be(at, entry);
      store_be(at + 8, is_split(cluster) ? kAllSubclusters : kAllSubclusters << kSubclusters);
    } else {
      store_be(at, is_split(cluster) ? entry : entry | kZero);
    }
  }
  return table;
}

void Qcow2Cover::each_replaced(const std::function<void(std::uint64_t, std::uint64_t)>& visit) const {
  for (std::uint64_t l1_index = first_table(); l1_index < end_table(); ++l1_index) {
    const std::uint64_t offset = old_table(l1_index);
    if (offset == 0) continue;
    visit(offset, header_.cluster_size());
    const std::vector<std::uint8_t> table = read_table(offset);
    const std::uint64_t first = l1_index * header_.l2_entries();
    const std::uint64_t end = std::min(end_, first + header_.l2_entries());
    for (std::uint64_t cluster = std::max(begin_, first); cluster < end; ++cluster) {
      const auto entry = load_be<std::uint64_t>(table.data() + (cluster - first) * header_.l2_entry_bytes());
      if ((entry & kCompressed) != 0) {
        const CompressedExtent extent = header_.compressed_extent(entry);
        visit(extent.offset, extent.bytes);
      } else if (is_split(cluster) && (entry & kOffsetMask) != 0) {
        visit(entry & kOffsetMask, header_.cluster_size());
      }
    }
  }
}

}  // namespace node_compute
