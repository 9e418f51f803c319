// The tables of a qcow2 image: each inside the file, in a place of its own; and what the tables of snapshots
// and bitmaps refer to.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "executor/cancellation.h"
#include "image/cluster_map.h"
#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

/// Where a compressed cluster stands; ImageError `outside-file`.
CompressedExtent check_compressed_place(const SourceFile& file, const Qcow2Header& header,
                                        std::uint64_t l2_entry);

/// All marks go to the window of `map`; what is not about a place is checked in every window.
class Qcow2TableCheck {
 public:
  Qcow2TableCheck(const SourceFile& file, const Qcow2Header& header, ClusterMap& map,
                  const Cancellation& cancel);

  /// Marks header, refcounts, L1 tables, snapshot table, bitmap directory, the tables of bitmaps, and the L2
  /// tables of the active layer. ImageError `alignment`, `outside-file`, `overlap` and more.
  ///
  /// Until that is done for the whole file nothing may be walked that these tables name: without a place of
  /// its own for each, a small file could make every walk take time without end by naming one table millions
  /// of times.
  void mark();

  /// Walks the tables of all bitmaps, and marks the clusters of their bits.
  void check_bitmaps();
  /// Walks the L2 tables of snapshots that begin in the window, and marks them. Each is looked at once,
  /// however often it is named. Nothing converts a snapshot, so that its clusters only have to be in the
  /// file.
  void check_snapshots();

 private:
  template <class Visit>
  void each_stored(std::uint64_t offset, std::uint64_t entries, Visit visit) const;
  void check_cancelled() const;
  void mark_table(std::uint64_t offset, std::uint64_t bytes, const char* what,
                  ClusterUse use = ClusterUse::table);
  void mark_refcounts();
  void mark_snapshots();
  void mark_bitmaps();
  void mark_l2_tables();
  void check_snapshot_l2(std::uint64_t l1_entry);
  void check_snapshot_cluster(std::uint64_t entry) const;

  const SourceFile& file_;
  const Qcow2Header& header_;
  ClusterMap& map_;
  const Cancellation& cancel_;
  const std::uint64_t cluster_;
  /// Place and entries of the snapshots' L1 tables.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> snapshot_l1_;
};

}  // namespace node_compute
