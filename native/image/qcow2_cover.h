// What hides the rest of a longer backing file when the disk of an overlay grows: L2 tables that say zero.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

/// Makes new tables and changes none. Of a version 3 image; what it refers to must outlive it.
class Qcow2Cover {
 public:
  /// Guest bytes from `begin`, where the disk ends, to `end` will read as zeros. `split` is the content of
  /// the cluster that `begin` is inside of, zeros from there on; empty where no cluster is split, or where
  /// all of it is zeros.
  Qcow2Cover(const SourceFile& file, const Qcow2Header& header, std::uint64_t begin, std::uint64_t end,
             std::vector<std::uint8_t> split);

  /// L1 entries of the tables that are replaced: [first_table(), end_table()).
  std::uint64_t first_table() const noexcept { return begin_ / header_.l2_entries(); }
  std::uint64_t end_table() const noexcept { return (end_ - 1) / header_.l2_entries() + 1; }
  /// Needs a cluster of its own, unless it is empty.
  const std::vector<std::uint8_t>& split() const noexcept { return split_; }

  /// The L2 table for an L1 entry: as it was, but for what is covered. `split_offset` is the place of
  /// split().
  std::vector<std::uint8_t> table(std::uint64_t l1_index, std::uint64_t split_offset) const;

  /// Calls `visit(offset, bytes)` for what of the file is in use once less when the new tables are in place
  /// of the old ones.
  void each_replaced(const std::function<void(std::uint64_t, std::uint64_t)>& visit) const;

 private:
  bool is_split(std::uint64_t cluster) const noexcept { return cluster == begin_ && !split_.empty(); }
  std::uint64_t old_table(std::uint64_t l1_index) const;
  std::vector<std::uint8_t> read_table(std::uint64_t offset) const;

  const SourceFile& file_;
  const Qcow2Header& header_;
  /// Guest clusters.
  const std::uint64_t begin_;
  const std::uint64_t end_;
  const std::vector<std::uint8_t> split_;
};

}  // namespace node_compute
