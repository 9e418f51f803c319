#include "image/qcow2_create.h"

#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/image_io.h"
#include "image/qcow2_format.h"
#include "image/qcow2_header.h"

namespace node_compute {

namespace {

using namespace qcow2;

constexpr std::uint64_t kRefcountBytes = 2;  // refcount_order 4

/// Header, refcount table, refcount blocks, L1 table: in this order, each from the start of a cluster.
struct Layout {
  std::uint64_t cluster;
  std::uint64_t virtual_size;
  std::uint64_t l1_entries;
  std::uint64_t table_clusters;
  std::uint64_t blocks;
  std::uint64_t clusters;

  std::uint64_t table_offset() const noexcept { return cluster; }
  std::uint64_t blocks_offset() const noexcept { return (1 + table_clusters) * cluster; }
  std::uint64_t l1_offset() const noexcept { return (1 + table_clusters + blocks) * cluster; }
};

std::uint64_t cluster_of(const Qcow2CreateOptions& options) {
  const std::uint64_t cluster = options.cluster_size;
  if (!std::has_single_bit(cluster) || cluster < (1U << kMinClusterBits) ||
      cluster > (1U << kMaxClusterBits)) {
    throw InvalidArgument("the cluster size must be a power of two from 512 bytes to 2 MiB, not " +
                          std::to_string(cluster));
  }
  return cluster;
}

Layout lay_out(const Qcow2CreateOptions& options) {
  Layout layout{};
  layout.cluster = cluster_of(options);
  if (options.virtual_size == 0 ||
      options.virtual_size > std::uint64_t{std::numeric_limits<std::int64_t>::max()} - 511) {
    throw InvalidArgument("the virtual size must be from 1 to 2^63 - 512 bytes");
  }
  layout.virtual_size = divide_up(options.virtual_size, 512) * 512;
  const std::uint64_t l2_entries = layout.cluster / 8;
  layout.l1_entries = divide_up(divide_up(layout.virtual_size, layout.cluster), l2_entries);
  if (layout.l1_entries * 8 > kMaxL1Bytes) {
    throw InvalidArgument("a disk of " + std::to_string(layout.virtual_size) +
                          " bytes needs clusters larger than " + std::to_string(layout.cluster) + " bytes");
  }
  const std::uint64_t l1_clusters = divide_up(layout.l1_entries * 8, layout.cluster);
  // The refcounts also count their own clusters: grow until they are all counted.
  layout.table_clusters = 1;
  layout.blocks = 1;
  for (;;) {
    layout.clusters = 1 + layout.table_clusters + layout.blocks + l1_clusters;
    const std::uint64_t blocks = divide_up(layout.clusters * kRefcountBytes, layout.cluster);
    const std::uint64_t table_clusters = divide_up(blocks * 8, layout.cluster);
    if (blocks == layout.blocks && table_clusters == layout.table_clusters) return layout;
    layout.blocks = blocks;
    layout.table_clusters = table_clusters;
  }
}

void check_backing(const BackingFile& backing) {
  if (backing.format != "raw" && backing.format != "qcow2") {
    throw InvalidArgument("the backing format must be raw or qcow2, not " + backing.format);
  }
  // An absolute path also means that no name can be read as a protocol (`nbd:...`, `json:...`).
  const std::string& path = backing.path;
  if (path.empty() || path.front() != '/' || path.find('\0') != std::string::npos) {
    throw InvalidArgument("the backing file must be an absolute path");
  }
  if (path.size() > kMaxBackingNameBytes) {
    throw InvalidArgument("the path of the backing file is longer than " +
                          std::to_string(kMaxBackingNameBytes) + " bytes");
  }
}

/// The extension with the backing format, the one that ends the list, the path; `header` grows by them.
void add_backing(std::vector<std::uint8_t>& header, const BackingFile& backing) {
  const std::size_t extension = header.size();
  const std::size_t name = extension + 8 + (backing.format.size() + 7) / 8 * 8 + 8;
  header.resize(name + backing.path.size());
  std::uint8_t* h = header.data();
  store_be<std::uint64_t>(h + 8, name);
  store_be<std::uint32_t>(h + 16, static_cast<std::uint32_t>(backing.path.size()));
  store_be<std::uint32_t>(h + extension, kExtensionBackingFormat);
  store_be<std::uint32_t>(h + extension + 4, static_cast<std::uint32_t>(backing.format.size()));
  std::memcpy(h + extension + 8, backing.format.data(), backing.format.size());
  std::memcpy(h + name, backing.path.data(), backing.path.size());
}

std::vector<std::uint8_t> make_header(const Qcow2CreateOptions& options, const Layout& layout) {
  Qcow2Header fields;
  fields.cluster_bits = static_cast<unsigned>(std::countr_zero(layout.cluster));
  fields.virtual_size = layout.virtual_size;
  fields.l1_entries = static_cast<std::uint32_t>(layout.l1_entries);
  fields.l1_offset = layout.l1_offset();
  fields.refcount_table_offset = layout.table_offset();
  fields.refcount_table_clusters = static_cast<std::uint32_t>(layout.table_clusters);
  fields.compression_type = static_cast<std::uint8_t>(options.compression);
  std::vector<std::uint8_t> header(kHeaderBytesNow);
  store_qcow2_header(fields, header.data());
  if (options.backing) add_backing(header, *options.backing);
  if (header.size() > layout.cluster) {
    throw InvalidArgument("clusters of " + std::to_string(layout.cluster) +
                          " bytes are too small: header and path of the backing file need " +
                          std::to_string(header.size()));
  }
  return header;
}

}  // namespace

void create_qcow2(const std::string& path, const Qcow2CreateOptions& options) {
  if (options.backing) check_backing(*options.backing);
  const Layout layout = lay_out(options);
  const std::vector<std::uint8_t> header = make_header(options, layout);

  std::vector<std::uint8_t> table(static_cast<std::size_t>(layout.blocks * 8));
  for (std::uint64_t i = 0; i < layout.blocks; ++i) {
    store_be<std::uint64_t>(table.data() + i * 8, layout.blocks_offset() + i * layout.cluster);
  }
  std::vector<std::uint8_t> refcounts(static_cast<std::size_t>(layout.clusters * kRefcountBytes));
  for (std::uint64_t i = 0; i < layout.clusters; ++i) store_be<std::uint16_t>(refcounts.data() + i * 2, 1);

  NewFile file(path);
  // The length first: the L1 table, all zero, and the rest of each cluster are a hole. One write of
  // everything would allocate 256 KiB where this takes 12.
  truncate_to(file.get(), layout.l1_offset() + layout.l1_entries * 8, path);
  write_at(file.get(), refcounts.data(), refcounts.size(), layout.blocks_offset(), path);
  write_at(file.get(), table.data(), table.size(), layout.table_offset(), path);
  write_at(file.get(), header.data(), header.size(), 0, path);
  file.keep();
}

}  // namespace node_compute
