#include "image/qcow2_grower.h"

#include <algorithm>
#include <string>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/qcow2_format.h"
#include "image/qcow2_refcounts.h"

namespace node_compute {

namespace {

using namespace qcow2;

/// The header fields that change, from the size on; all in one sector, so that one write changes all or none.
constexpr std::uint64_t kFieldsBegin = 24;
constexpr std::uint64_t kFieldsEndV2 = 60;
constexpr std::uint64_t kFieldsEndV3 = 96;

/// Of a table, in one write.
constexpr std::uint64_t kPieceEntries = 8192;
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 55;

}  // namespace

Qcow2Grower::Qcow2Grower(const SourceFile& file, const Qcow2Header& header, ImageWriter& writer,
                         const Cancellation& cancel)
    : file_(file),
      header_(header),
      writer_(writer),
      cancel_(cancel),
      cluster_(header.cluster_size()),
      per_block_(refcounts_per_block(header)),
      blocks_(read_refcount_table(file, header)) {}

void Qcow2Grower::grow_to(std::uint64_t virtual_size, const Qcow2Cover* cover) {
  const std::uint64_t l1_entries = divide_up(divide_up(virtual_size, cluster_), header_.l2_entries());
  if (l1_entries * 8 > kMaxL1Bytes) {
    throw ImageError("too-large", "a disk of " + std::to_string(virtual_size) +
                                      " bytes needs clusters larger than " + std::to_string(cluster_) +
                                      " bytes");
  }
  if (l1_entries <= header_.l1_entries && cover == nullptr) {
    switch_header(virtual_size, nullptr);
    return;
  }
  const Plan plan = make_plan(std::max<std::uint64_t>(l1_entries, header_.l1_entries), cover);
  write_contents(plan, cover);
  change_counts(plan.first, plan.end(), +1);
  writer_.barrier();
  switch_header(virtual_size, &plan);
  free_what_is_replaced(plan, cover);
}

/// Behind the file and behind all that is counted there: a QEMU that was killed leaves such counts.
std::uint64_t Qcow2Grower::first_free_cluster() const {
  std::uint64_t first = divide_up(file_.size(), cluster_);
  std::vector<std::uint8_t> block(static_cast<std::size_t>(cluster_));
  for (std::uint64_t index = first / per_block_; index < blocks_.size(); ++index) {
    if (cancel_.cancelled()) throw Cancelled();
    if (blocks_[index] == 0) continue;
    file_.read(blocks_[index], block.data(), block.size());
    for (std::uint64_t i = 0; i < per_block_; ++i) {
      if (load_refcount(block.data(), i, header_.refcount_order) != 0) {
        first = std::max(first, index * per_block_ + i + 1);
      }
    }
  }
  return first;
}

/// The refcounts also count their own new clusters: plan until they are all counted.
Qcow2Grower::Plan Qcow2Grower::make_plan(std::uint64_t l1_entries, const Qcow2Cover* cover) const {
  Plan plan;
  plan.first = first_free_cluster();
  plan.l1_entries = l1_entries;
  plan.l1_clusters = divide_up(l1_entries * 8, cluster_);
  if (cover != nullptr) {
    plan.l2_tables = cover->end_table() - cover->first_table();
    plan.split_clusters = cover->split().empty() ? 0 : 1;
  }
  for (;;) {
    if (plan.end() > kMaxFileBytes / cluster_) {
      throw ImageError("refcount-table", "the image counts clusters where no file can have them");
    }
    const std::uint64_t end_index = divide_up(plan.end(), per_block_);
    std::vector<std::uint64_t> missing;
    for (std::uint64_t index = plan.first / per_block_; index < end_index; ++index) {
      if (index >= blocks_.size() || blocks_[index] == 0) missing.push_back(index);
    }
    std::uint64_t table_clusters = 0;
    if (!missing.empty()) {
      table_clusters =
          std::max<std::uint64_t>(header_.refcount_table_clusters, divide_up(end_index * 8, cluster_));
    }
    if (table_clusters * cluster_ > kMaxRefcountTableBytes) {
      throw ImageError("refcount-table", "the refcount table would be too large");
    }
    if (missing.size() == plan.block_indices.size() && table_clusters == plan.table_clusters) return plan;
    plan.block_indices = std::move(missing);
    plan.table_clusters = table_clusters;
  }
}

/// Nothing refers to these clusters yet.
void Qcow2Grower::write_contents(const Plan& plan, const Qcow2Cover* cover) {
  try {
    writer_.resize(plan.end() * cluster_);
    write_l1(plan, cover);
    if (cover != nullptr) {
      for (std::uint64_t i = 0; i < plan.l2_tables; ++i) {
        if (cancel_.cancelled()) throw Cancelled();
        writer_.write((plan.first_l2() + i) * cluster_,
                      cover->table(cover->first_table() + i, plan.split() * cluster_));
      }
      if (plan.split_clusters > 0) writer_.write(plan.split() * cluster_, cover->split());
    }
    if (plan.table_clusters > 0) write_refcounts(plan);
  } catch (...) {
    // Most likely the file system is full: give back what was taken, and tell why it failed.
    try {
      writer_.resize(file_.size());
    } catch (...) {
    }
    throw;
  }
}

/// In pieces. What is beyond the old table and not covered stays a hole.
void Qcow2Grower::write_l1(const Plan& plan, const Qcow2Cover* cover) {
  const std::uint64_t end =
      std::max<std::uint64_t>(header_.l1_entries, cover != nullptr ? cover->end_table() : 0);
  for (std::uint64_t first = 0; first < end; first += kPieceEntries) {
    const std::uint64_t count = std::min(end - first, kPieceEntries);
    std::vector<std::uint8_t> piece(static_cast<std::size_t>(count * 8));
    if (first < header_.l1_entries) {
      const std::uint64_t old = std::min<std::uint64_t>(count, header_.l1_entries - first);
      file_.read(header_.l1_offset + first * 8, piece.data(), static_cast<std::size_t>(old * 8));
    }
    const std::uint64_t new_end = cover != nullptr ? std::min(first + count, cover->end_table()) : 0;
    for (std::uint64_t i = cover != nullptr ? std::max(first, cover->first_table()) : 0; i < new_end; ++i) {
      const std::uint64_t table = plan.first_l2() + i - cover->first_table();
      store_be(piece.data() + (i - first) * 8, (table * cluster_) | kCopied);
    }
    writer_.write(plan.first * cluster_ + first * 8, piece);
  }
}

void Qcow2Grower::write_refcounts(const Plan& plan) {
  std::vector<std::uint64_t> table = blocks_;
  table.resize(static_cast<std::size_t>(plan.table_clusters * cluster_ / 8));
  for (std::size_t i = 0; i < plan.block_indices.size(); ++i) {
    const std::uint64_t index = plan.block_indices[i];
    const std::uint64_t from = std::max(plan.first, index * per_block_);
    const std::uint64_t to = std::min(plan.end(), (index + 1) * per_block_);
    std::vector<std::uint8_t> block(static_cast<std::size_t>(cluster_));
    for (std::uint64_t cluster = from; cluster < to; ++cluster) {
      store_refcount(block.data(), cluster % per_block_, header_.refcount_order, 1);
    }
    table[static_cast<std::size_t>(index)] = (plan.first_block() + i) * cluster_;
    writer_.write(table[static_cast<std::size_t>(index)], block);
  }
  for (std::uint64_t first = 0; first < table.size(); first += kPieceEntries) {
    const std::uint64_t count = std::min(table.size() - first, kPieceEntries);
    std::vector<std::uint8_t> piece(static_cast<std::size_t>(count * 8));
    for (std::size_t i = 0; i < count; ++i) store_be(piece.data() + i * 8, table[first + i]);
    writer_.write(plan.table() * cluster_ + first * 8, piece);
  }
}

/// Of the clusters that have a refcount block already. A cluster that is not counted cannot be freed.
void Qcow2Grower::change_counts(std::uint64_t first, std::uint64_t end, int change) {
  const unsigned order = header_.refcount_order;
  const std::uint64_t end_index = std::min<std::uint64_t>(divide_up(end, per_block_), blocks_.size());
  for (std::uint64_t index = first / per_block_; index < end_index; ++index) {
    if (blocks_[index] == 0) continue;
    const std::uint64_t from = std::max(first, index * per_block_) - index * per_block_;
    const std::uint64_t to = std::min(end, (index + 1) * per_block_) - index * per_block_;
    // Small counts share their bytes with others, which are written back as they were.
    const std::uint64_t first_byte = (from << order) / 8;
    const std::uint64_t first_count = first_byte * 8 >> order;
    std::vector<std::uint8_t> counts(static_cast<std::size_t>(divide_up(to << order, 8) - first_byte));
    file_.read(blocks_[index] + first_byte, counts.data(), counts.size());
    for (std::uint64_t i = from - first_count; i < to - first_count; ++i) {
      const std::uint64_t count = load_refcount(counts.data(), i, order);
      if (change > 0 || count > 0) {
        store_refcount(counts.data(), i, order, count + static_cast<std::uint64_t>(change));
      }
    }
    writer_.write(blocks_[index] + first_byte, counts);
  }
}

void Qcow2Grower::switch_header(std::uint64_t virtual_size, const Plan* plan) {
  const std::uint64_t end = header_.version >= 3 ? kFieldsEndV3 : kFieldsEndV2;
  std::vector<std::uint8_t> fields(static_cast<std::size_t>(end - kFieldsBegin));
  file_.read(kFieldsBegin, fields.data(), fields.size());
  const auto at = [&fields](std::uint64_t offset) { return fields.data() + (offset - kFieldsBegin); };
  store_be<std::uint64_t>(at(24), virtual_size);
  if (plan != nullptr) {
    store_be<std::uint32_t>(at(36), static_cast<std::uint32_t>(plan->l1_entries));
    store_be<std::uint64_t>(at(40), plan->first * cluster_);
    if (plan->table_clusters > 0) {
      store_be<std::uint64_t>(at(48), plan->table() * cluster_);
      store_be<std::uint32_t>(at(56), static_cast<std::uint32_t>(plan->table_clusters));
    }
  }
  // Of features that have to be told of each change: whoever changes the image without knowing them.
  if (header_.version >= 3) store_be<std::uint64_t>(at(88), 0);
  writer_.write(kFieldsBegin, fields);
  writer_.barrier();
}

void Qcow2Grower::free_what_is_replaced(const Plan& plan, const Qcow2Cover* cover) {
  const auto release = [this](std::uint64_t offset, std::uint64_t bytes) {
    change_counts(offset / cluster_, divide_up(offset + bytes, cluster_), -1);
  };
  release(header_.l1_offset, std::uint64_t{header_.l1_entries} * 8);
  if (plan.table_clusters > 0) {
    release(header_.refcount_table_offset, header_.refcount_table_clusters * cluster_);
  }
  if (cover != nullptr) cover->each_replaced(release);
  writer_.barrier();
}

}  // namespace node_compute
