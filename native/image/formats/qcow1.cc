// QCOW images of version 1: tables of two levels, clusters plain or compressed.
#include "image/byte_order.h"
#include "image/formats/disk_formats.h"
#include "image/formats/file_ranges.h"
#include "image/image_error.h"
#include "image/table_reader.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kHeaderBytes = 48;
constexpr std::uint64_t kCompressed = std::uint64_t{1} << 63;

}  // namespace

DiskFacts inspect_qcow1(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation& cancel) {
  std::uint8_t header[kHeaderBytes];
  file.read(0, header, sizeof header);
  require(load_be<std::uint64_t>(header + 8) == 0, "backing-file", "the image names a backing file");
  require(load_be<std::uint32_t>(header + 36) == 0, "encrypted", "the image is encrypted");
  const unsigned cluster_bits = header[32];
  const unsigned l2_bits = header[33];
  require(cluster_bits >= 9 && cluster_bits <= 16 && l2_bits >= 6 && l2_bits <= 13, "header",
          "the clusters or tables of the image have an impossible size");
  const std::uint64_t cluster = std::uint64_t{1} << cluster_bits;
  const std::uint64_t l2_entries = std::uint64_t{1} << l2_bits;
  // As QEMU: what is less than a sector is no part of the disk.
  const std::uint64_t virtual_size = load_be<std::uint64_t>(header + 24) / 512 * 512;
  check_virtual_size(virtual_size, max_virtual_bytes);
  const auto l1 = load_be<std::uint64_t>(header + 40);
  require(l1 >= kHeaderBytes, "overlap", "the L1 table lies over the header");

  FileRanges ranges(file, virtual_size);
  const auto each_entry = [&](std::uint64_t table, std::uint64_t entries, auto visit) {
    ranges.add_table(table, entries * 8);
    each_number<std::uint64_t, load_be<std::uint64_t>>(file, table, entries, cancel, visit);
  };
  const auto check_cluster = [&](std::uint64_t guest_cluster, std::uint64_t entry) {
    if ((entry & kCompressed) != 0) {
      const unsigned size_shift = 63 - cluster_bits;
      ranges.add_compressed(entry & ((std::uint64_t{1} << size_shift) - 1),
                            entry >> size_shift & (cluster - 1), cluster);
    } else if (entry != 0) {
      if (entry % 512 != 0) refuse("alignment", "a data cluster is not aligned");
      ranges.add_block(guest_cluster * cluster, entry, cluster);
    }
  };
  const std::uint64_t l1_entries = divide_up(divide_up(virtual_size, cluster), l2_entries);
  each_entry(l1, l1_entries, [&](std::uint64_t l1_index, std::uint64_t l2) {
    if (l2 == 0) return;
    each_entry(l2, l2_entries, [&](std::uint64_t index, std::uint64_t entry) {
      check_cluster(l1_index * l2_entries + index, entry);
    });
  });
  return {virtual_size, ranges.data_bytes()};
}

}  // namespace node_compute
