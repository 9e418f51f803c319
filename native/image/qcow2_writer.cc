#include "image/qcow2_writer.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/image_io.h"
#include "image/qcow2_format.h"
#include "image/qcow2_header.h"

namespace node_compute {

using namespace qcow2;

namespace {

constexpr std::uint64_t kSectorBytes = 512;
constexpr std::uint64_t kPieceEntries = 8192;

}  // namespace

Qcow2Writer::Qcow2Writer(int target, std::string name, std::uint64_t virtual_size, unsigned cluster_bits,
                         Compression compression)
    : target_(target),
      name_(std::move(name)),
      virtual_size_(virtual_size),
      cluster_bits_(cluster_bits),
      compression_(compression) {
  if (cluster_bits < kMinClusterBits || cluster_bits > kMaxClusterBits) {
    throw InvalidArgument("the cluster size must be a power of two from 512 bytes to 2 MiB");
  }
  const std::uint64_t tables = divide_up(divide_up(virtual_size, cluster_size()), l2_entries());
  if (tables * 8 > kMaxL1Bytes) {
    throw InvalidArgument("a disk of " + std::to_string(virtual_size) + " bytes needs clusters larger than " +
                          std::to_string(cluster_size()) + " bytes");
  }
  l1_.resize(tables);
  add_clusters(1);  // the header
  l1_offset_ = add_clusters(divide_up(tables * 8, cluster_size()));
}

std::uint64_t Qcow2Writer::claim_plain(std::uint64_t clusters) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t offset = add_clusters(clusters);
  write_full_blocks();
  return offset;
}

std::uint64_t Qcow2Writer::claim_compressed(const std::vector<std::uint32_t>& sizes) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t offset = end_;
  for (const std::uint32_t bytes : sizes) {
    // Readers fetch whole sectors, and each of these counts in every cluster of the file that it touches.
    const std::uint64_t last = (end_ + bytes - 1) / kSectorBytes * kSectorBytes;
    for (std::uint64_t i = end_ >> cluster_bits_; i <= last >> cluster_bits_; ++i) count(i);
    end_ += bytes;
  }
  write_full_blocks();
  return offset;
}

/// Under the lock, as all that follow up to map().
std::uint64_t Qcow2Writer::add_clusters(std::uint64_t clusters) {
  const std::uint64_t first = divide_up(end_, cluster_size());
  for (std::uint64_t i = 0; i < clusters; ++i) count(first + i);
  end_ = (first + clusters) << cluster_bits_;
  return first << cluster_bits_;
}

void Qcow2Writer::count(std::uint64_t cluster) {
  const std::uint64_t index = cluster - blocks_.size() * block_entries();
  if (index >= counts_.size()) counts_.resize(index + 1);
  // A cluster of 2 MiB holds some 30,000 of the smallest streams there are.
  if (counts_[index] == std::numeric_limits<std::uint16_t>::max()) throw std::length_error("refcount");
  ++counts_[index];
}

/// A block is full once nothing more can be put into the clusters that it counts. The cluster before the end
/// may still be shared.
void Qcow2Writer::write_full_blocks() {
  while (end_ >> cluster_bits_ > (blocks_.size() + 1) * block_entries()) {
    write_block(add_clusters(1));
  }
}

void Qcow2Writer::write_block(std::uint64_t offset) {
  counts_.resize(std::max<std::uint64_t>(counts_.size(), block_entries()));
  std::vector<std::uint8_t> block(cluster_size());
  for (std::uint64_t i = 0; i < block_entries(); ++i) store_be(block.data() + i * 2, counts_[i]);
  write(offset, block.data(), block.size());
  blocks_.push_back(offset);
  counts_.erase(counts_.begin(), counts_.begin() + static_cast<std::ptrdiff_t>(block_entries()));
}

void Qcow2Writer::write(std::uint64_t offset, const std::uint8_t* data, std::uint64_t bytes) const {
  write_sparse(target_, data, bytes, offset, name_);
}

std::uint64_t Qcow2Writer::plain_entry(std::uint64_t offset) noexcept { return offset | kCopied; }

std::uint64_t Qcow2Writer::compressed_entry(std::uint64_t offset, std::uint64_t bytes) const noexcept {
  const unsigned sector_shift = 62 - (cluster_bits_ - 8);
  const std::uint64_t more_sectors = (offset + bytes - 1) / kSectorBytes - offset / kSectorBytes;
  return kCompressed | more_sectors << sector_shift | offset;
}

void Qcow2Writer::map(std::uint64_t first, const std::vector<std::uint64_t>& entries) {
  for (std::uint64_t done = 0; done < entries.size();) {
    const std::uint64_t index = (first + done) / l2_entries();
    const std::uint64_t position = (first + done) % l2_entries();
    const std::uint64_t count = std::min(entries.size() - done, l2_entries() - position);
    const auto begin = entries.begin() + static_cast<std::ptrdiff_t>(done);
    const std::vector<std::uint64_t> slice(begin, begin + static_cast<std::ptrdiff_t>(count));
    if (std::any_of(slice.begin(), slice.end(), [](std::uint64_t entry) { return entry != 0; })) {
      write_table(l2_table(index) + position * 8, slice);
    }
    done += count;
  }
}

std::uint64_t Qcow2Writer::l2_table(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  if (l1_[index] == 0) {
    l1_[index] = add_clusters(1);
    write_full_blocks();
  }
  return l1_[index];
}

void Qcow2Writer::write_table(std::uint64_t offset, const std::vector<std::uint64_t>& entries) const {
  std::vector<std::uint8_t> raw;
  for (std::uint64_t done = 0; done < entries.size(); done += kPieceEntries) {
    const std::uint64_t count = std::min(kPieceEntries, entries.size() - done);
    raw.resize(count * 8);
    for (std::uint64_t i = 0; i < count; ++i) store_be(raw.data() + i * 8, entries[done + i]);
    write(offset + done * 8, raw.data(), raw.size());
  }
}

std::uint64_t Qcow2Writer::finish() {
  const std::lock_guard lock(mutex_);
  // What is left to add counts itself: more blocks until they count all there is.
  std::uint64_t blocks = blocks_.size();
  std::uint64_t table_clusters = 1;
  for (;;) {
    const std::uint64_t clusters = (end_ >> cluster_bits_) + table_clusters + blocks - blocks_.size();
    const std::uint64_t more_blocks = divide_up(clusters, block_entries());
    const std::uint64_t more_table = divide_up(more_blocks * 8, cluster_size());
    if (more_blocks <= blocks && more_table <= table_clusters) break;
    blocks = std::max(blocks, more_blocks);
    table_clusters = std::max(table_clusters, more_table);
  }
  const std::uint64_t table_offset = add_clusters(table_clusters);
  std::uint64_t block_offset = add_clusters(blocks - blocks_.size());
  truncate_to(target_, end_, name_);
  for (; blocks_.size() < blocks; block_offset += cluster_size()) write_block(block_offset);
  write_table(table_offset, blocks_);
  for (std::uint64_t& entry : l1_) entry = entry == 0 ? 0 : plain_entry(entry);
  write_table(l1_offset_, l1_);
  write_header(table_offset, table_clusters);
  return end_;
}

void Qcow2Writer::write_header(std::uint64_t table_offset, std::uint64_t table_clusters) const {
  Qcow2Header header;
  header.cluster_bits = cluster_bits_;
  header.virtual_size = virtual_size_;
  header.l1_entries = static_cast<std::uint32_t>(l1_.size());
  header.l1_offset = l1_offset_;
  header.refcount_table_offset = table_offset;
  header.refcount_table_clusters = static_cast<std::uint32_t>(table_clusters);
  header.compression_type = static_cast<std::uint8_t>(compression_);
  std::uint8_t raw[kHeaderBytesNow];
  store_qcow2_header(header, raw);
  write_at(target_, raw, sizeof raw, 0, name_);
}

}  // namespace node_compute
