// Where the guest's bytes lie in a qcow2 image: L1 and L2 tables read piece by piece, so that memory does not
// grow with the disk. qcow2 specification, "Cluster mapping".
#pragma once

#include <cstdint>

#include "image/extent.h"
#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

/// Reads of an image whose header was checked. Holds nothing but references: cheap to make, safe to use from
/// many threads. Entries that the validator would refuse are not looked for again; each read is inside the
/// file whatever they say.
class Qcow2Map {
 public:
  Qcow2Map(const SourceFile& file, const Qcow2Header& header) : file_(file), header_(header) {}

  /// Appends what `bytes` from `offset` on are; the range lies on the disk.
  void read(std::uint64_t offset, std::uint64_t bytes, Extents& extents) const;
  /// All from `offset` up to what this gives is absent: the L2 tables for it do not exist.
  std::uint64_t next(std::uint64_t offset) const;

 private:
  /// Guest bytes that one L2 table maps.
  std::uint64_t table_span() const noexcept { return header_.l2_entries() << header_.cluster_bits; }
  void read_table(std::uint64_t offset, std::uint64_t end, Extents& extents) const;
  Extent decode(std::uint64_t entry, std::uint64_t bitmap, unsigned subcluster) const;

  const SourceFile& file_;
  const Qcow2Header& header_;
};

}  // namespace node_compute
