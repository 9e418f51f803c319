#include "image/qcow2_stream.h"

#include <algorithm>
#include <cstring>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/qcow2_format.h"
#include "image/qcow2_header.h"

namespace node_compute {

using namespace qcow2;

namespace {

constexpr std::uint64_t kTableEntries = Qcow2Stream::kCluster / 8;
constexpr std::uint64_t kBlockEntries = Qcow2Stream::kCluster / 2;
constexpr std::uint64_t kTableBytes = kTableEntries * Qcow2Stream::kCluster;

}  // namespace

Qcow2Stream::Qcow2Stream(const Disk& disk, const Cancellation& cancel) : disk_(disk), reader_(disk) {
  l1_entries_ = divide_up(disk.size(), kTableBytes);
  if (l1_entries_ * 8 > kMaxL1Bytes) {
    throw InvalidArgument("a disk of " + std::to_string(disk.size()) + " bytes is too large to be streamed");
  }
  std::uint64_t clusters = 0;
  for (std::uint64_t offset = disk.next(0); offset < disk.size();) {
    if (cancel.cancelled()) throw Cancelled();
    const std::uint64_t index = offset / kTableBytes;
    const std::uint64_t found = map_table(index).size();
    if (found > 0) tables_.push_back({index, clusters});
    clusters += found;
    const std::uint64_t end = (index + 1) * kTableBytes;
    offset = end < disk.size() ? disk.next(end) : disk.size();
  }
  tables_.push_back({l1_entries_, clusters});
  lay_out();
}

/// Refcounts also count their own clusters: grow until all are counted.
void Qcow2Stream::lay_out() {
  const std::uint64_t tables = tables_.size() - 1;
  const std::uint64_t rest = divide_up(l1_entries_ * 8, kCluster) + tables + tables_.back().first;
  std::uint64_t table_clusters = 1;
  std::uint64_t blocks = 1;
  for (;;) {
    const std::uint64_t more_blocks = divide_up(1 + table_clusters + blocks + rest, kBlockEntries);
    const std::uint64_t more_table = divide_up(more_blocks * 8, kCluster);
    if (more_blocks == blocks && more_table == table_clusters) break;
    blocks = more_blocks;
    table_clusters = more_table;
  }
  blocks_ = 1 + table_clusters;
  l1_ = blocks_ + blocks;
  l2_ = l1_ + divide_up(l1_entries_ * 8, kCluster);
  data_ = l2_ + tables;
}

std::vector<std::uint64_t> Qcow2Stream::map_table(std::uint64_t index) const {
  const std::uint64_t offset = index * kTableBytes;
  const auto wanted = clusters_with_data(disk_.map(offset, kTableBytes), offset, kCluster, kTableEntries);
  std::vector<std::uint64_t> clusters;
  for (std::uint64_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i]) clusters.push_back(index * kTableEntries + i);
  }
  return clusters;
}

void Qcow2Stream::load(std::size_t table) {
  if (loaded_table_ == table) return;
  loaded_ = map_table(tables_[table].index);
  loaded_table_ = table;
  if (loaded_.size() != tables_[table + 1].first - tables_[table].first) {
    throw ImageError("changed", "the disk was written to while it was read");
  }
}

void Qcow2Stream::read(std::uint64_t first, std::uint64_t count, std::uint8_t* target) {
  for (std::uint64_t done = 0; done < count;) {
    std::uint8_t* at = target + done * kCluster;
    const std::uint64_t cluster = first + done;
    if (cluster < data_) {
      put_metadata(cluster, at);
      ++done;
    } else {
      done += put_data(cluster - data_, count - done, at);
    }
  }
}

void Qcow2Stream::put_metadata(std::uint64_t cluster, std::uint8_t* target) {
  std::memset(target, 0, kCluster);
  if (cluster == 0) {
    put_header(target);
  } else if (cluster < blocks_) {
    const std::uint64_t first = (cluster - 1) * kTableEntries;
    for (std::uint64_t i = first; i < std::min(first + kTableEntries, l1_ - blocks_); ++i) {
      store_be<std::uint64_t>(target + (i - first) * 8, (blocks_ + i) << kClusterBits);
    }
  } else if (cluster < l1_) {
    const std::uint64_t first = (cluster - blocks_) * kBlockEntries;
    for (std::uint64_t i = first; i < std::min(first + kBlockEntries, clusters()); ++i) {
      store_be<std::uint16_t>(target + (i - first) * 2, 1);
    }
  } else if (cluster < l2_) {
    put_l1(cluster - l1_, target);
  } else {
    put_l2(static_cast<std::size_t>(cluster - l2_), target);
  }
}

void Qcow2Stream::put_l1(std::uint64_t piece, std::uint8_t* target) const {
  const std::uint64_t first = piece * kTableEntries;
  const auto before = [](const Table& table, std::uint64_t index) { return table.index < index; };
  auto table = std::lower_bound(tables_.begin(), tables_.end() - 1, first, before);
  for (; table != tables_.end() - 1 && table->index < first + kTableEntries; ++table) {
    const auto rank = static_cast<std::uint64_t>(table - tables_.begin());
    store_be(target + (table->index - first) * 8, ((l2_ + rank) << kClusterBits) | kCopied);
  }
}

void Qcow2Stream::put_l2(std::size_t table, std::uint8_t* target) {
  load(table);
  for (std::size_t i = 0; i < loaded_.size(); ++i) {
    const std::uint64_t place = data_ + tables_[table].first + i;
    store_be(target + loaded_[i] % kTableEntries * 8, (place << kClusterBits) | kCopied);
  }
}

/// As many clusters as follow each other on the disk; gives their number.
std::uint64_t Qcow2Stream::put_data(std::uint64_t first, std::uint64_t count, std::uint8_t* target) {
  const auto after = [](std::uint64_t place, const Table& table) { return place < table.first; };
  const auto table = std::upper_bound(tables_.begin(), tables_.end(), first, after) - 1;
  load(static_cast<std::size_t>(table - tables_.begin()));
  const std::uint64_t position = first - table->first;
  std::uint64_t run = 1;
  while (run < count && position + run < loaded_.size() &&
         loaded_[position + run] == loaded_[position] + run) {
    ++run;
  }
  const std::uint64_t offset = loaded_[position] * kCluster;
  const std::uint64_t bytes = std::min(run * kCluster, disk_.size() - offset);
  reader_.read(offset, target, bytes);
  std::memset(target + bytes, 0, run * kCluster - bytes);
  return run;
}

void Qcow2Stream::put_header(std::uint8_t* target) const {
  Qcow2Header header;
  header.cluster_bits = kClusterBits;
  header.virtual_size = disk_.size();
  header.l1_entries = static_cast<std::uint32_t>(l1_entries_);
  header.l1_offset = l1_ << kClusterBits;
  header.refcount_table_offset = kCluster;
  header.refcount_table_clusters = static_cast<std::uint32_t>(blocks_ - 1);
  store_qcow2_header(header, target);
}

}  // namespace node_compute
