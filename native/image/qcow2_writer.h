// Writes a standalone qcow2 version 3 image as its clusters come, from many threads and in any order.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "image/decompressor.h"

namespace node_compute {

/// Header and L1 table stand at the start of the file, so that who receives it can use what is there; data
/// and L2 tables in the order in which they were asked for, refcount blocks between them as they fill up, the
/// refcount table at the end. The header is written last. Memory: one refcount
/// block, and 8 bytes for each L2 table.
class Qcow2Writer {
 public:
  /// `target` is an open and empty file, `name` is for messages. InvalidArgument where the disk is too large
  /// for clusters of that size.
  Qcow2Writer(int target, std::string name, std::uint64_t virtual_size, unsigned cluster_bits,
              Compression compression);

  std::uint64_t cluster_size() const noexcept { return std::uint64_t{1} << cluster_bits_; }

  /// Room for clusters as they are; thread-safe, as all below but finish().
  std::uint64_t claim_plain(std::uint64_t clusters);
  /// Room for compressed clusters one after another, `sizes` in bytes, each less than a cluster.
  std::uint64_t claim_compressed(const std::vector<std::uint32_t>& sizes);
  void write(std::uint64_t offset, const std::uint8_t* data, std::uint64_t bytes) const;

  static std::uint64_t plain_entry(std::uint64_t offset) noexcept;
  std::uint64_t compressed_entry(std::uint64_t offset, std::uint64_t bytes) const noexcept;
  /// Puts L2 entries in place from the guest's cluster `first` on. Each cluster once.
  void map(std::uint64_t first, const std::vector<std::uint64_t>& entries);

  /// Completes the file and gives its length. Not synced.
  std::uint64_t finish();

 private:
  std::uint64_t l2_entries() const noexcept { return cluster_size() / 8; }
  std::uint64_t block_entries() const noexcept { return cluster_size() / 2; }
  std::uint64_t add_clusters(std::uint64_t clusters);
  void count(std::uint64_t cluster);
  void write_full_blocks();
  void write_block(std::uint64_t offset);
  std::uint64_t l2_table(std::uint64_t index);
  void write_table(std::uint64_t offset, const std::vector<std::uint64_t>& entries) const;
  void write_header(std::uint64_t table_offset, std::uint64_t table_clusters) const;

  const int target_;
  const std::string name_;
  const std::uint64_t virtual_size_;
  const unsigned cluster_bits_;
  const Compression compression_;

  std::mutex mutex_;  // guards all below
  /// End of what was claimed: in bytes, since compressed clusters share a cluster of the file.
  std::uint64_t end_ = 0;
  std::uint64_t l1_offset_ = 0;
  /// Offsets; 0 where no table is needed so far.
  std::vector<std::uint64_t> l1_;
  /// Offsets of the refcount blocks that are written, and the counts of the clusters behind what they cover.
  std::vector<std::uint64_t> blocks_;
  std::vector<std::uint16_t> counts_;
};

}  // namespace node_compute
