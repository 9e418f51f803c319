// Where the guest's bytes lie in a qcow2 image: L1 and L2 tables read piece by piece, so that memory does not
// grow with the disk. qcow2 specification, "Cluster mapping".
#pragma once

#include <cstdint>
#include <vector>

#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

/// What one cluster of the guest's disk is.
struct GuestCluster {
  /// What is not allocated reads as zeros too: an accepted image has no backing file.
  enum class Kind : std::uint8_t { zeros, data, compressed };

  Kind kind = Kind::zeros;
  /// In the file; of data the whole cluster, of compressed data the first byte.
  std::uint64_t offset = 0;
  /// Compressed only: bytes to read, padding included, cut at the end of the file.
  std::uint64_t compressed_bytes = 0;
  /// Data only: bit n tells of subcluster n that it is data and no zeros; all of them without extended L2
  /// entries.
  std::uint32_t data_subclusters = 0;
};

/// Reads of an image whose header was checked. Holds nothing but references: safe to use from many threads.
/// Entries that the validator would refuse are not looked for again; each read is inside the file whatever
/// they say.
class Qcow2Map {
 public:
  Qcow2Map(const SourceFile& file, const Qcow2Header& header) : file_(file), header_(header) {}

  std::uint64_t clusters() const noexcept;
  /// The clusters from `first` on, `count` at most: up to the end of the disk and of the L2 table that
  /// `first` is in. Empty where that table is not there: all its clusters are zeros.
  std::vector<GuestCluster> read(std::uint64_t first, std::uint64_t count) const;
  /// First cluster after those of the L2 table that `cluster` is in.
  std::uint64_t next_table(std::uint64_t cluster) const noexcept;

 private:
  GuestCluster decode(std::uint64_t entry, std::uint64_t bitmap) const;

  const SourceFile& file_;
  const Qcow2Header& header_;
};

}  // namespace node_compute
