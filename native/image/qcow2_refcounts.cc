#include "image/qcow2_refcounts.h"

#include "image/byte_order.h"

namespace node_compute {

namespace {

/// Counts of less than a byte stand in it from its lowest bit up.
struct BitPlace {
  std::uint64_t byte;
  unsigned shift;
  unsigned mask;
};

BitPlace place_of(std::uint64_t index, unsigned order) noexcept {
  const std::uint64_t bit = index << order;
  return {bit / 8, static_cast<unsigned>(bit % 8), (1U << (1U << order)) - 1};
}

}  // namespace

std::uint64_t load_refcount(const std::uint8_t* block, std::uint64_t index, unsigned order) noexcept {
  if (order < 3) {
    const auto [byte, shift, mask] = place_of(index, order);
    return block[byte] >> shift & mask;
  }
  const std::uint64_t bytes = std::uint64_t{1} << (order - 3);
  std::uint64_t count = 0;
  for (std::uint64_t i = 0; i < bytes; ++i) count = count << 8 | block[index * bytes + i];
  return count;
}

void store_refcount(std::uint8_t* block, std::uint64_t index, unsigned order, std::uint64_t count) noexcept {
  if (order < 3) {
    const auto [byte, shift, mask] = place_of(index, order);
    block[byte] = static_cast<std::uint8_t>((block[byte] & ~(mask << shift)) | count << shift);
    return;
  }
  const std::uint64_t bytes = std::uint64_t{1} << (order - 3);
  for (std::uint64_t i = bytes; i > 0; --i, count >>= 8) {
    block[index * bytes + i - 1] = static_cast<std::uint8_t>(count);
  }
}

std::uint64_t refcounts_per_block(const Qcow2Header& header) noexcept {
  return header.cluster_size() * 8 >> header.refcount_order;
}

std::vector<std::uint64_t> read_refcount_table(const SourceFile& file, const Qcow2Header& header) {
  std::vector<std::uint8_t> raw(
      static_cast<std::size_t>(header.refcount_table_clusters * header.cluster_size()));
  file.read(header.refcount_table_offset, raw.data(), raw.size());
  std::vector<std::uint64_t> blocks(raw.size() / 8);
  for (std::size_t i = 0; i < blocks.size(); ++i) blocks[i] = load_be<std::uint64_t>(raw.data() + i * 8);
  return blocks;
}

}  // namespace node_compute
