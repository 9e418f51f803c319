// A disk as a standalone, uncompressed qcow2 image from its first byte to its last, without a file: for
// uploads.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "executor/cancellation.h"
#include "image/disk.h"
#include "image/disk_reader.h"

namespace node_compute {

/// Header, refcount table, refcount blocks, L1 table, L2 tables, data in the guest's order: all that points
/// somewhere stands before what it points to. So the places of all clusters must be known before the first
/// byte goes out, and the map is read once for that and again as the image goes by. What the map shows as
/// zeros is left out; compressed clusters are stored as they are once decompressed. Memory: 16 bytes for each
/// L2 table. Not thread-safe.
class Qcow2Stream {
 public:
  static constexpr unsigned kClusterBits = 16;
  static constexpr std::uint64_t kCluster = std::uint64_t{1} << kClusterBits;

  /// Reads the whole map. InvalidArgument for a disk that clusters of 64 KiB cannot hold, ImageError,
  /// Cancelled.
  Qcow2Stream(const Disk& disk, const Cancellation& cancel);

  /// Of the image, in whole clusters.
  std::uint64_t clusters() const noexcept { return data_ + tables_.back().first; }
  /// Fills `target` with clusters of the image. ImageError `changed` where the disk is not what it was.
  void read(std::uint64_t first, std::uint64_t count, std::uint8_t* target);

 private:
  struct Table {
    /// Entry of the L1 table.
    std::uint64_t index;
    /// Of the data clusters that it maps, counted over all tables.
    std::uint64_t first;
  };

  std::vector<std::uint64_t> map_table(std::uint64_t index) const;
  void load(std::size_t table);
  void lay_out();
  void put_metadata(std::uint64_t cluster, std::uint8_t* target);
  void put_header(std::uint8_t* target) const;
  void put_l1(std::uint64_t piece, std::uint8_t* target) const;
  void put_l2(std::size_t table, std::uint8_t* target);
  std::uint64_t put_data(std::uint64_t first, std::uint64_t count, std::uint8_t* target);

  const Disk& disk_;
  DiskReader reader_;
  std::uint64_t l1_entries_ = 0;
  /// Those that have clusters, and one at the end that only counts.
  std::vector<Table> tables_;
  /// First cluster of each part; the refcount table is at 1.
  std::uint64_t blocks_ = 0;
  std::uint64_t l1_ = 0;
  std::uint64_t l2_ = 0;
  std::uint64_t data_ = 0;
  /// Guest clusters of the table that was looked at last.
  std::vector<std::uint64_t> loaded_;
  std::size_t loaded_table_ = std::numeric_limits<std::size_t>::max();
};

}  // namespace node_compute
