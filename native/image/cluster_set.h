// Which clusters of a guest's disk are done: one bit each.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "image/extent.h"

namespace node_compute {

class ClusterSet {
 public:
  ClusterSet(std::uint64_t disk_bytes, unsigned cluster_bits)
      : bits_(cluster_bits), disk_bytes_(disk_bytes), done_(((disk_bytes - 1) >> cluster_bits) + 1) {}

  /// The clusters that lie in the range whole, or up to the end of the disk.
  void add(std::uint64_t offset, std::uint64_t bytes) {
    const std::uint64_t end = offset + bytes;
    const std::uint64_t last = end == disk_bytes_ ? done_.size() : end >> bits_;
    for (std::uint64_t i = ((offset + size() - 1) >> bits_); i < last; ++i) done_[i] = true;
  }

  /// Calls `take` with what is left of the extent, in order. It is data, or one compressed cluster.
  template <class Take>
  void rest_of(const Extent& extent, const Take& take) const {
    for (std::uint64_t from = extent.offset; from < extent.end();) {
      const bool done = done_[from >> bits_];
      std::uint64_t to = from;
      while (to < extent.end() && done_[to >> bits_] == done) to = ((to >> bits_) + 1) << bits_;
      to = std::min(to, extent.end());
      if (!done) {
        Extent part = extent;
        part.offset = from;
        part.bytes = to - from;
        if (part.kind == Extent::Kind::data) part.file_offset += from - extent.offset;
        take(part);
      }
      from = to;
    }
  }

 private:
  std::uint64_t size() const noexcept { return std::uint64_t{1} << bits_; }

  unsigned bits_;
  std::uint64_t disk_bytes_;
  std::vector<bool> done_;
};

}  // namespace node_compute
