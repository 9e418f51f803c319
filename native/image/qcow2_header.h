// The header of a qcow2 image, read and held against the format's own rules before anything it points to is
// touched.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "image/source_file.h"

namespace node_compute {

/// Where an L2 entry says that a compressed cluster stands, in whole sectors of 512 bytes from its first byte
/// on.
struct CompressedExtent {
  std::uint64_t offset;
  std::uint64_t bytes;
};

struct Qcow2Header {
  std::uint32_t version = 0;
  std::uint32_t header_bytes = 0;
  unsigned cluster_bits = 0;
  std::uint64_t virtual_size = 0;
  std::uint32_t l1_entries = 0;
  std::uint64_t l1_offset = 0;
  std::uint64_t refcount_table_offset = 0;
  std::uint32_t refcount_table_clusters = 0;
  unsigned refcount_order = 4;
  std::uint32_t snapshots = 0;
  std::uint64_t snapshots_offset = 0;
  std::uint64_t incompatible = 0;
  std::uint64_t compatible = 0;
  std::uint64_t autoclear = 0;
  std::uint8_t compression_type = 0;
  /// These three are 0 where there is none, or where the image says that it is stale.
  std::uint32_t bitmaps = 0;
  std::uint64_t bitmap_directory_offset = 0;
  std::uint64_t bitmap_directory_bytes = 0;
  bool encrypted = false;
  /// 0 none, 1 AES, 2 LUKS.
  std::uint32_t encryption_method = 0;
  /// Place of the LUKS header; 0 where there is none.
  std::uint64_t luks_offset = 0;
  std::uint64_t luks_bytes = 0;
  /// Guest data is in another file.
  bool data_file = false;
  /// As it stands in the header: any bytes, or empty.
  std::string data_file_name;
  /// As it stands in the header: any bytes.
  std::optional<std::string> backing_name;
  /// Empty where the header does not say.
  std::string backing_format;

  std::uint64_t cluster_size() const noexcept { return std::uint64_t{1} << cluster_bits; }
  bool extended_l2() const noexcept;
  bool dirty() const noexcept;
  bool corrupt() const noexcept;
  std::uint64_t l2_entry_bytes() const noexcept { return extended_l2() ? 16 : 8; }
  CompressedExtent compressed_extent(std::uint64_t l2_entry) const noexcept;
  std::uint64_t l2_entries() const noexcept { return cluster_size() / l2_entry_bytes(); }
};

/// Writes the kHeaderBytesNow bytes that a version 3 image begins with: places, sizes and compression type,
/// no other features, no backing file, no extensions.
void store_qcow2_header(const Qcow2Header& header, std::uint8_t* target) noexcept;

/// What of a good header is acceptable where the image is used.
struct Qcow2Rules {
  std::uint64_t max_virtual_bytes = 0;
  /// For a layer whose backing file the caller names itself: the name in the header is never opened.
  bool backing_file = false;
  /// For a reader that was given the secret: encryption by LUKS, and no image without.
  bool luks = false;
};

/// Refuses what no reader can make sense of: other versions, sizes and tables that are impossible, header
/// extensions and a backing name that leave the first cluster.
Qcow2Header read_qcow2_header(const SourceFile& file);

/// Refuses, each with its own rule: unknown incompatible features, the corrupt bit, backing file, external
/// data file, encryption (unless by LUKS, where the rules ask for it), an empty disk, one above the limit and
/// one above its L1 table.
void check_qcow2_header(const Qcow2Header& header, const Qcow2Rules& rules);

}  // namespace node_compute
