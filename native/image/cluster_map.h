// What each cluster of an image file is used for, and how often: four bits a cluster, touched only where the
// image refers to it, and never more of them at once than fit into a window.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <limits>
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

/// The clusters in [begin, end). Whoever walks the image marks those that `covers` admits, and walks it again
/// while `advance` finds more. Files of up to 4 TiB with QEMU's default clusters are one window.
class ClusterMap {
 public:
  /// 32 TiB of file at QEMU's default cluster size. More would be too many walks.
  static constexpr std::uint64_t kMaxClusters = std::uint64_t{1} << 29;
  /// 32 MiB of memory.
  static constexpr std::uint64_t kWindow = std::uint64_t{1} << 26;

  /// ImageError `too-many-clusters`.
  ClusterMap(std::uint64_t clusters, std::uint64_t window) : clusters_(clusters), window_(window) {
    require(clusters <= kMaxClusters, "too-many-clusters", "the file has more clusters than can be checked");
  }

  std::uint64_t clusters() const noexcept { return clusters_; }
  std::uint64_t begin() const noexcept { return begin_; }
  std::uint64_t end() const noexcept { return end_; }

  bool has_one_window() const noexcept { return clusters_ <= window_; }
  /// An empty window at the beginning of the file; none is there before.
  void rewind() { open(0); }
  /// An empty window at the first cluster behind this one that `covers` was asked about; false where there is
  /// none.
  bool advance() {
    if (next_ == kNone) return false;
    open(next_);
    return true;
  }
  bool covers(std::uint64_t cluster) noexcept {
    if (cluster >= end_) next_ = std::min(next_, cluster);
    return cluster >= begin_ && cluster < end_;
  }

  // All that follow: of clusters in the window.

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
      const std::uint64_t place = from - begin_;
      const bool pair_is_free = place % 2 == 0 && states_[place / 2] == 0;
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
  static constexpr std::uint64_t kNone = std::numeric_limits<std::uint64_t>::max();

  void open(std::uint64_t begin) {
    begin_ = begin;
    end_ = std::min(begin + window_, clusters_);
    next_ = kNone;
    states_.reset();  // before there is a second one
    // calloc, not a vector: the pages of a sparse file's map stay untouched and cost nothing.
    states_.reset(
        static_cast<std::uint8_t*>(std::calloc(static_cast<std::size_t>((end_ - begin_) / 2 + 1), 1)));
    if (!states_) throw std::bad_alloc();
  }

  static unsigned first(ClusterUse use) noexcept { return static_cast<unsigned>(use); }
  unsigned get(std::uint64_t cluster) const noexcept {
    const std::uint64_t place = cluster - begin_;
    return states_[place / 2] >> (place % 2 * 4) & 15U;
  }
  void put(std::uint64_t cluster, unsigned state) noexcept {
    const std::uint64_t place = cluster - begin_;
    const unsigned shift = static_cast<unsigned>(place % 2 * 4);
    const unsigned kept = states_[place / 2] & ~(15U << shift);
    states_[place / 2] = static_cast<std::uint8_t>(kept | state << shift);
  }

  std::uint64_t clusters_;
  std::uint64_t window_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
  /// The lowest cluster behind the window that somebody asked about.
  std::uint64_t next_ = kNone;
  std::unique_ptr<std::uint8_t[], Free> states_;
};

}  // namespace node_compute
