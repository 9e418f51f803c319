// What each cluster of an image file is used for: two bits a cluster, touched only where the image refers to
// it.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "image/image_error.h"

namespace node_compute {

enum class ClusterUse : std::uint8_t { none = 0, metadata = 1, data = 2, compressed = 3 };

class ClusterMap {
 public:
  /// 2^30 clusters are 256 MiB here and 64 TiB of file at QEMU's default cluster size.
  static constexpr std::uint64_t kMaxClusters = std::uint64_t{1} << 30;

  /// ImageError `too-many-clusters` where the file would need more memory than that.
  explicit ClusterMap(std::uint64_t clusters) : clusters_(clusters) {
    if (clusters > kMaxClusters) {
      throw ImageError("too-many-clusters", "the file has more clusters than can be checked");
    }
    // calloc, not a vector: the pages of a sparse file's map stay untouched and cost nothing.
    bits_.reset(static_cast<std::uint8_t*>(std::calloc(static_cast<std::size_t>(clusters / 4 + 1), 1)));
    if (!bits_) throw std::bad_alloc();
  }

  std::uint64_t clusters() const noexcept { return clusters_; }
  ClusterUse use(std::uint64_t cluster) const noexcept {
    return static_cast<ClusterUse>(bits_[cluster / 4] >> (cluster % 4 * 2) & 3);
  }
  void set(std::uint64_t cluster, ClusterUse use) noexcept {
    const unsigned shift = static_cast<unsigned>(cluster % 4 * 2);
    const unsigned kept = bits_[cluster / 4] & ~(3U << shift);
    bits_[cluster / 4] = static_cast<std::uint8_t>(kept | static_cast<unsigned>(use) << shift);
  }

 private:
  struct Free {
    void operator()(std::uint8_t* memory) const noexcept { std::free(memory); }
  };
  std::uint64_t clusters_;
  std::unique_ptr<std::uint8_t[], Free> bits_;
};

}  // namespace node_compute
