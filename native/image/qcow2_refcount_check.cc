#include "image/qcow2_refcount_check.h"

#include <algorithm>
#include <string>
#include <vector>

#include "image/byte_order.h"
#include "image/qcow2_refcounts.h"
#include "image/table_reader.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kPieceBytes = 64 * 1024;

class RefcountChecker {
 public:
  RefcountChecker(const SourceFile& file, const Qcow2Header& header, const ClusterMap& map)
      : file_(file),
        map_(map),
        order_(header.refcount_order),
        per_block_(refcounts_per_block(header)),
        piece_(static_cast<std::size_t>(std::min(header.cluster_size(), kPieceBytes))) {}

  /// Clusters that no refcount block covers.
  void check_uncounted(std::uint64_t from, std::uint64_t end) const {
    const std::uint64_t used = map_.next_used(from, end);
    if (used < end) check_cluster(used, 0);
  }

  /// The clusters that the block at `offset` counts, as far as they are in the window.
  void check_block(std::uint64_t index, std::uint64_t offset) {
    const std::uint64_t per_piece = piece_.size() * 8 >> order_;
    const std::uint64_t block_end = std::min((index + 1) * per_block_, map_.end());
    for (std::uint64_t first = index * per_block_; first < block_end; first += per_piece) {
      const std::uint64_t last = std::min(first + per_piece, block_end);
      std::uint64_t cluster = map_.next_used(std::max(first, map_.begin()), last);
      if (cluster >= last) continue;
      file_.read(offset + ((first - index * per_block_) << order_) / 8, piece_.data(), piece_.size());
      for (; cluster < last; cluster = map_.next_used(cluster + 1, last)) {
        check_cluster(cluster, load_refcount(piece_.data(), cluster - first, order_));
      }
    }
  }

 private:
  void check_cluster(std::uint64_t cluster, std::uint64_t count) const {
    const unsigned uses = map_.uses(cluster);
    if (count < uses) {
      refuse(uses > 1 ? "shared-cluster" : "refcount",
             "cluster " + std::to_string(cluster) + " of the file is used more often than the image counts");
    }
    if (count != 1 && map_.is_copied(cluster)) {
      refuse("copied-flag",
             "cluster " + std::to_string(cluster) + " of the file is counted as shared and said not to be");
    }
  }

  const SourceFile& file_;
  const ClusterMap& map_;
  const unsigned order_;
  const std::uint64_t per_block_;
  std::vector<std::uint8_t> piece_;
};

}  // namespace

void check_refcounts(const SourceFile& file, const Qcow2Header& header, const ClusterMap& map,
                     const Cancellation& cancel) {
  RefcountChecker checker(file, header, map);
  const std::uint64_t per_block = refcounts_per_block(header);
  const std::uint64_t blocks = header.refcount_table_clusters * header.cluster_size() / 8;
  const std::uint64_t first = std::min(map.begin() / per_block, blocks);
  const std::uint64_t end = std::min(divide_up(map.end(), per_block), blocks);
  each_number<std::uint64_t, load_be<std::uint64_t>>(
      file, header.refcount_table_offset + first * 8, end - first, cancel,
      [&](std::uint64_t i, std::uint64_t offset) {
        if (offset != 0) return checker.check_block(first + i, offset);
        checker.check_uncounted(std::max((first + i) * per_block, map.begin()),
                                std::min((first + i + 1) * per_block, map.end()));
      });
  checker.check_uncounted(std::clamp(blocks * per_block, map.begin(), map.end()), map.end());
}

}  // namespace node_compute
