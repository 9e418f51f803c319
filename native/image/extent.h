// A stretch of a guest's disk, and where its bytes come from.
#pragma once

#include <cstdint>
#include <vector>

namespace node_compute {

struct Extent {
  /// `absent`: this image says nothing, the one below it does; below the last one it reads as zeros.
  enum class Kind : std::uint8_t { absent, zeros, data, compressed };

  Kind kind = Kind::absent;
  /// On the disk.
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
  /// Data: where the first byte stands in the file. Compressed: where the cluster's stream begins.
  std::uint64_t file_offset = 0;
  /// Compressed only: bytes to read, padding included, cut at the end of the file; and how many bytes of the
  /// cluster come before `offset`.
  std::uint64_t compressed_bytes = 0;
  std::uint64_t skip = 0;
  /// Which image of the chain; 0 is the top.
  std::uint32_t layer = 0;

  bool reads_as_zeros() const noexcept { return kind == Kind::absent || kind == Kind::zeros; }
  std::uint64_t end() const noexcept { return offset + bytes; }
};

using Extents = std::vector<Extent>;

/// Adds to the last one where it goes on in the same way. Each compressed cluster stays one of its own.
inline void append(Extents& extents, const Extent& next) {
  if (!extents.empty()) {
    Extent& last = extents.back();
    const bool goes_on =
        last.kind == next.kind && last.layer == next.layer && next.kind != Extent::Kind::compressed &&
        last.end() == next.offset &&
        (next.kind != Extent::Kind::data || last.file_offset + last.bytes == next.file_offset);
    if (goes_on) {
      last.bytes += next.bytes;
      return;
    }
  }
  extents.push_back(next);
}

/// Of `clusters` clusters from `offset` on: which ones have anything but zeros in these extents.
inline std::vector<bool> clusters_with_data(const Extents& extents, std::uint64_t offset,
                                            std::uint64_t cluster, std::uint64_t clusters) {
  std::vector<bool> wanted(clusters);
  for (const Extent& extent : extents) {
    if (extent.reads_as_zeros()) continue;
    const std::uint64_t last = (extent.end() - 1 - offset) / cluster;
    for (std::uint64_t i = (extent.offset - offset) / cluster; i <= last; ++i) wanted[i] = true;
  }
  return wanted;
}

}  // namespace node_compute
