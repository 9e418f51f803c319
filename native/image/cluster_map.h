// What each cluster of an image file is used for, and how often: four bits a cluster, touched only where the
// image refers to it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

#include "image/image_error.h"

namespace node_compute {

/// `copied` is what the image says of a cluster that it does not share (QCOW_OFLAG_COPIED).
enum class ClusterUse : std::uint8_t {
  none = 0,
  table = 1,
  l2_table = 2,
  copied_l2_table = 3,
  copied_data = 4,
  /// This and the next four: used once to five times, or more.
  data = 5,
  /// The same.
  compressed = 10,
};

class ClusterMap {
 public:
  /// 2^29 clusters are 256 MiB here and 32 TiB of file at QEMU's default cluster size.
  static constexpr std::uint64_t kMaxClusters = std::uint64_t{1} << 29;

  /// ImageError `too-many-clusters` where the file would need more memory than that.
  explicit ClusterMap(std::uint64_t clusters) : clusters_(clusters) {
    require(clusters <= kMaxClusters, "too-many-clusters", "the file has more clusters than can be checked");
    // calloc, not a vector: the pages of a sparse file's map stay untouched and cost nothing.
    states_.reset(static_cast<std::uint8_t*>(std::calloc(static_cast<std::size_t>(clusters / 2 + 1), 1)));
    if (!states_) throw std::bad_alloc();
  }

  std::uint64_t clusters() const noexcept { return clusters_; }

  ClusterUse use(std::uint64_t cluster) const noexcept {
    const unsigned state = get(cluster);
    if (state >= first(ClusterUse::compressed)) return ClusterUse::compressed;
    return state >= first(ClusterUse::data) ? ClusterUse::data : static_cast<ClusterUse>(state);
  }
  bool is_table(std::uint64_t cluster) const noexcept {
    return use(cluster) >= ClusterUse::table && use(cluster) <= ClusterUse::copied_l2_table;
  }
  bool is_copied(std::uint64_t cluster) const noexcept {
    return use(cluster) == ClusterUse::copied_l2_table || use(cluster) == ClusterUse::copied_data;
  }
  /// Five where it is more.
  unsigned uses(std::uint64_t cluster) const noexcept {
    const ClusterUse counted = use(cluster);
    if (counted >= ClusterUse::data) return get(cluster) - first(counted) + 1;
    return counted == ClusterUse::none ? 0 : 1;
  }
  /// The first cluster of [from, end) that has a use; `end` where none has.
  std::uint64_t next_used(std::uint64_t from, std::uint64_t end) const noexcept {
    while (from < end && get(from) == 0) {
      const bool pair_is_free = from % 2 == 0 && states_[from / 2] == 0;
      from += pair_is_free ? 2 : 1;
    }
    return std::min(from, end);
  }

  /// The first use of a cluster.
  void set(std::uint64_t cluster, ClusterUse use) noexcept { put(cluster, first(use)); }
  /// One more of a cluster that holds data, compressed or not, and is not `copied_data`.
  void add_use(std::uint64_t cluster, ClusterUse use) noexcept {
    constexpr unsigned kMostUses = 5;
    put(cluster, first(use) + std::min(uses(cluster), kMostUses - 1));
  }

 private:
  struct Free {
    void operator()(std::uint8_t* memory) const noexcept { std::free(memory); }
  };

  static unsigned first(ClusterUse use) noexcept { return static_cast<unsigned>(use); }
  unsigned get(std::uint64_t cluster) const noexcept {
    return states_[cluster / 2] >> (cluster % 2 * 4) & 15U;
  }
  void put(std::uint64_t cluster, unsigned state) noexcept {
    const unsigned shift = static_cast<unsigned>(cluster % 2 * 4);
    const unsigned kept = states_[cluster / 2] & ~(15U << shift);
    states_[cluster / 2] = static_cast<std::uint8_t>(kept | state << shift);
  }

  std::uint64_t clusters_;
  std::unique_ptr<std::uint8_t[], Free> states_;
};

}  // namespace node_compute
