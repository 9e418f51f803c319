#include "image/qcow2_map.h"

#include <algorithm>

#include "image/byte_order.h"
#include "image/qcow2_format.h"

namespace node_compute {

using namespace qcow2;

std::uint64_t Qcow2Map::clusters() const noexcept {
  return divide_up(header_.virtual_size, header_.cluster_size());
}

std::uint64_t Qcow2Map::next_table(std::uint64_t cluster) const noexcept {
  return (cluster / header_.l2_entries() + 1) * header_.l2_entries();
}

std::vector<GuestCluster> Qcow2Map::read(std::uint64_t first, std::uint64_t count) const {
  const std::uint64_t end = std::min({first + count, next_table(first), clusters()});
  std::uint8_t raw[8];
  file_.read(header_.l1_offset + first / header_.l2_entries() * 8, raw, sizeof raw);
  const std::uint64_t table = load_be<std::uint64_t>(raw) & kOffsetMask;
  if (table == 0 || first >= end) return {};

  const std::uint64_t entry_bytes = header_.l2_entry_bytes();
  std::vector<std::uint8_t> entries((end - first) * entry_bytes);
  file_.read(table + first % header_.l2_entries() * entry_bytes, entries.data(), entries.size());
  std::vector<GuestCluster> result;
  result.reserve(end - first);
  for (std::size_t at = 0; at < entries.size(); at += entry_bytes) {
    const auto entry = load_be<std::uint64_t>(entries.data() + at);
    result.push_back(
        decode(entry, header_.extended_l2() ? load_be<std::uint64_t>(entries.data() + at + 8) : 0));
  }
  return result;
}

GuestCluster Qcow2Map::decode(std::uint64_t entry, std::uint64_t bitmap) const {
  using Kind = GuestCluster::Kind;
  if ((entry & kCompressed) != 0) {
    const auto [offset, bytes] = header_.compressed_extent(entry);
    const std::uint64_t rest = offset < file_.size() ? file_.size() - offset : 0;
    return {Kind::compressed, offset, std::min(bytes, rest), 0};
  }
  const std::uint64_t offset = entry & kOffsetMask;
  if (header_.extended_l2()) {
    const auto data = static_cast<std::uint32_t>(bitmap);
    if (offset == 0 || data == 0) return {};
    return {Kind::data, offset, 0, data};
  }
  // Version 2 has no zero flag; the bit is reserved there.
  if (offset == 0 || (header_.version >= 3 && (entry & kZero) != 0)) return {};
  return {Kind::data, offset, 0, ~std::uint32_t{0}};
}

}  // namespace node_compute
