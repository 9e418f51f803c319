// QED images: tables of two levels, all of one size.
#include <bit>

#include "image/byte_order.h"
#include "image/formats/disk_formats.h"
#include "image/formats/file_ranges.h"
#include "image/image_error.h"
#include "image/table_reader.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kFeatureBackingFile = 1;
constexpr std::uint64_t kFeatureNeedCheck = 2;
constexpr std::uint64_t kFeatureBackingFormat = 4;
constexpr std::uint64_t kMinClusterBytes = 4096;
constexpr std::uint64_t kMaxClusterBytes = 64 << 20;
constexpr std::uint64_t kMaxTableClusters = 16;
/// An entry of an L2 table; 0 is a cluster that was never written.
constexpr std::uint64_t kZeroCluster = 1;

bool is_power_of_two_within(std::uint64_t value, std::uint64_t least, std::uint64_t most) {
  return std::has_single_bit(value) && value >= least && value <= most;
}

}  // namespace

DiskFacts inspect_qed(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  std::uint8_t header[64];
  file.read(0, header, sizeof header);
  const std::uint64_t cluster = load_le<std::uint32_t>(header + 4);
  const std::uint64_t table_clusters = load_le<std::uint32_t>(header + 8);
  const std::uint64_t header_clusters = load_le<std::uint32_t>(header + 12);
  const auto features = load_le<std::uint64_t>(header + 16);
  const auto l1 = load_le<std::uint64_t>(header + 40);
  const auto virtual_size = load_le<std::uint64_t>(header + 48);
  require((features & (kFeatureBackingFile | kFeatureBackingFormat)) == 0 &&
              load_le<std::uint32_t>(header + 56) == 0 && load_le<std::uint32_t>(header + 60) == 0,
          "backing-file", "the image names a backing file");
  require((features & kFeatureNeedCheck) == 0, "not-closed", "the image was not closed");
  require(features == 0, "unknown-feature", "the image needs features that are not known here");
  require(is_power_of_two_within(cluster, kMinClusterBytes, kMaxClusterBytes) &&
              is_power_of_two_within(table_clusters, 1, kMaxTableClusters) && header_clusters > 0,
          "header", "the clusters, tables or header of the image have an impossible size");
  require(virtual_size % 512 == 0, "header", "the size of the disk is not in whole sectors");
  check_virtual_size(virtual_size, max_virtual_bytes);
  const std::uint64_t table_bytes = cluster * table_clusters;
  const std::uint64_t entries = table_bytes / 8;
  const std::uint64_t l1_entries = divide_up(divide_up(virtual_size, cluster), entries);
  require(l1_entries <= entries, "header", "the tables are too small for the disk");
  require(l1 >= header_clusters * cluster, "overlap", "the L1 table lies over the header");

  FileRanges ranges(file, virtual_size);
  const auto each_entry = [&](std::uint64_t table, std::uint64_t used, auto visit) {
    if (table % cluster != 0) refuse("alignment", "a table is not aligned");
    ranges.add_table(table, table_bytes);
    each_number<std::uint64_t, load_le<std::uint64_t>>(file, table, used, cancel, visit);
  };
  each_entry(l1, l1_entries, [&](std::uint64_t l1_index, std::uint64_t l2) {
    if (l2 == 0) return;
    each_entry(l2, entries, [&](std::uint64_t index, std::uint64_t entry) {
      if (entry == 0 || entry == kZeroCluster) return;
      if (entry % cluster != 0) refuse("alignment", "a data cluster is not aligned");
      ranges.add_block((l1_index * entries + index) * cluster, entry, cluster);
    });
  });
  return {virtual_size, ranges.data_bytes()};
}

}  // namespace node_compute
