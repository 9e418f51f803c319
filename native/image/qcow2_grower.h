// The edit that gives a qcow2 image a larger disk: a longer L1 table beyond the end of the file, and one
// write that makes the header point to it.
#pragma once

#include <cstdint>
#include <vector>

#include "executor/cancellation.h"
#include "image/image_writer.h"
#include "image/qcow2_cover.h"
#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

/// For a validated, clean image without bitmaps. All that it refers to must outlive it.
class Qcow2Grower {
 public:
  Qcow2Grower(const SourceFile& file, const Qcow2Header& header, ImageWriter& writer,
              const Cancellation& cancel);

  /// `cover` is null where no backing file shows. ImageError `too-large`, `refcount-table`, Cancelled: the
  /// file is then as it was.
  void grow_to(std::uint64_t virtual_size, const Qcow2Cover* cover);

 private:
  /// New clusters, one after the other: L1 table, L2 tables, the cluster that the disk's old end splits,
  /// refcount blocks, refcount table (none where the old one has room).
  struct Plan {
    std::uint64_t first = 0;
    std::uint64_t l1_entries = 0;
    std::uint64_t l1_clusters = 0;
    std::uint64_t l2_tables = 0;
    std::uint64_t split_clusters = 0;
    std::vector<std::uint64_t> block_indices;
    std::uint64_t table_clusters = 0;

    std::uint64_t first_l2() const noexcept { return first + l1_clusters; }
    std::uint64_t split() const noexcept { return first_l2() + l2_tables; }
    std::uint64_t first_block() const noexcept { return split() + split_clusters; }
    std::uint64_t table() const noexcept { return first_block() + block_indices.size(); }
    std::uint64_t end() const noexcept { return table() + table_clusters; }
  };

  std::uint64_t first_free_cluster() const;
  Plan make_plan(std::uint64_t l1_entries, const Qcow2Cover* cover) const;
  void write_contents(const Plan& plan, const Qcow2Cover* cover);
  void write_l1(const Plan& plan, const Qcow2Cover* cover);
  void write_refcounts(const Plan& plan);
  void change_counts(std::uint64_t first, std::uint64_t end, int change);
  void switch_header(std::uint64_t virtual_size, const Plan* plan);
  void free_what_is_replaced(const Plan& plan, const Qcow2Cover* cover);

  const SourceFile& file_;
  const Qcow2Header& header_;
  ImageWriter& writer_;
  const Cancellation& cancel_;
  const std::uint64_t cluster_;
  const std::uint64_t per_block_;
  /// The refcount blocks that the file's table names.
  std::vector<std::uint64_t> blocks_;
};

}  // namespace node_compute
