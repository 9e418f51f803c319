#include "image/qcow2_header.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/qcow2_format.h"
#include "image/virtual_size.h"

namespace node_compute {

namespace {

using namespace qcow2;

/// Of the first cluster: header and extensions seldom take more.
constexpr std::uint64_t kMostlyEnough = 4096;

constexpr std::uint64_t kKnownIncompatible = kIncompatibleDirty | kIncompatibleCorrupt |
                                             kIncompatibleDataFile | kIncompatibleCompression |
                                             kIncompatibleExtendedL2;

void parse_fields(const std::vector<std::uint8_t>& raw, Qcow2Header& header) {
  const std::uint8_t* bytes = raw.data();
  require(load_be<std::uint32_t>(bytes) == kMagic, "header", "the file does not begin as a qcow2 image");
  header.version = load_be<std::uint32_t>(bytes + 4);
  require(header.version == 2 || header.version == 3, "version",
          "qcow2 version " + std::to_string(header.version) + " is not supported, only 2 and 3");
  const auto cluster_bits = load_be<std::uint32_t>(bytes + 20);
  require(cluster_bits >= kMinClusterBits && cluster_bits <= kMaxClusterBits, "header",
          "cluster_bits is " + std::to_string(cluster_bits));
  header.cluster_bits = cluster_bits;
  header.virtual_size = load_be<std::uint64_t>(bytes + 24);
  header.encryption_method = load_be<std::uint32_t>(bytes + 32);
  header.encrypted = header.encryption_method != 0;
  header.l1_entries = load_be<std::uint32_t>(bytes + 36);
  header.l1_offset = load_be<std::uint64_t>(bytes + 40);
  header.refcount_table_offset = load_be<std::uint64_t>(bytes + 48);
  header.refcount_table_clusters = load_be<std::uint32_t>(bytes + 56);
  header.snapshots = load_be<std::uint32_t>(bytes + 60);
  header.snapshots_offset = load_be<std::uint64_t>(bytes + 64);
  header.header_bytes = kHeaderBytesV2;
}

void parse_v3_fields(const SourceFile& file, Qcow2Header& header) {
  std::vector<std::uint8_t> raw(kHeaderBytesV3);
  file.read(0, raw.data(), raw.size());
  const std::uint8_t* bytes = raw.data();
  header.incompatible = load_be<std::uint64_t>(bytes + 72);
  header.compatible = load_be<std::uint64_t>(bytes + 80);
  header.autoclear = load_be<std::uint64_t>(bytes + 88);
  header.refcount_order = load_be<std::uint32_t>(bytes + 96);
  header.header_bytes = load_be<std::uint32_t>(bytes + 100);
  require(header.header_bytes >= kHeaderBytesV3 && header.header_bytes <= header.cluster_size() &&
              header.header_bytes % 8 == 0,
          "header", "header_length is " + std::to_string(header.header_bytes));
  require(header.refcount_order <= kMaxRefcountOrder, "header",
          "refcount_order is " + std::to_string(header.refcount_order));
  if (header.header_bytes > kHeaderBytesV3) file.read(kHeaderBytesV3, &header.compression_type, 1);
}

void check_compression(const Qcow2Header& header) {
  const bool other = (header.incompatible & kIncompatibleCompression) != 0;
  require(header.compression_type <= 1 && other == (header.compression_type != 0), "compression",
          "compression type " + std::to_string(header.compression_type) + " does not fit the feature bits");
}

void check_tables(const Qcow2Header& header) {
  require(!header.extended_l2() || header.cluster_bits >= kMinExtendedClusterBits, "header",
          "clusters are too small for extended L2 entries");
  require(std::uint64_t{header.l1_entries} * 8 <= kMaxL1Bytes, "l1-table", "the L1 table is too large");
  require(header.refcount_table_clusters > 0 &&
              header.refcount_table_clusters <= kMaxRefcountTableBytes / header.cluster_size(),
          "refcount-table", "the refcount table has an impossible size");
  require(header.snapshots <= kMaxSnapshots, "snapshots", "the image has too many snapshots");
}

void parse_backing_name(const SourceFile& file, Qcow2Header& header) {
  std::uint8_t raw[12];
  file.read(8, raw, sizeof raw);
  const auto offset = load_be<std::uint64_t>(raw);
  if (offset == 0) return;
  const auto bytes = load_be<std::uint32_t>(raw + 8);
  require(bytes <= kMaxBackingNameBytes && offset >= header.header_bytes &&
              offset <= header.cluster_size() - bytes,
          "header", "the name of the backing file is not inside the first cluster");
  std::string name(bytes, '\0');
  file.read(offset, name.data(), bytes);
  header.backing_name = std::move(name);
}

void parse_bitmaps(const std::uint8_t* data, std::uint32_t bytes, Qcow2Header& header) {
  // Without the autoclear bit a program that knows no bitmaps has written since: they are to be ignored.
  if ((header.autoclear & kAutoclearBitmaps) == 0) return;
  require(bytes == 24, "bitmaps", "the bitmaps extension has an impossible length");
  header.bitmaps = load_be<std::uint32_t>(data);
  header.bitmap_directory_bytes = load_be<std::uint64_t>(data + 8);
  header.bitmap_directory_offset = load_be<std::uint64_t>(data + 16);
  require(header.bitmaps > 0 && header.bitmaps <= kMaxBitmaps && load_be<std::uint32_t>(data + 4) == 0 &&
              header.bitmap_directory_bytes > 0 &&
              header.bitmap_directory_bytes <= kMaxBitmapDirectoryBytes &&
              header.bitmap_directory_offset != 0,
          "bitmaps", "the bitmap directory has an impossible size");
}

void parse_encryption(const std::uint8_t* data, std::uint32_t bytes, Qcow2Header& header) {
  header.encrypted = true;
  if (bytes != 16) return;
  header.luks_offset = load_be<std::uint64_t>(data);
  header.luks_bytes = load_be<std::uint64_t>(data + 8);
}

void parse_extensions(const SourceFile& file, Qcow2Header& header) {
  const std::uint64_t end = std::min(header.cluster_size(), file.size());
  auto raw = file.read_some(0, static_cast<std::size_t>(std::min(end, kMostlyEnough)));
  const auto load_up_to = [&](std::uint64_t place) {
    if (place > raw.size()) raw = file.read_some(0, static_cast<std::size_t>(end));
  };
  std::size_t offset = header.header_bytes;
  while (offset + 8 <= end) {
    load_up_to(offset + 8);
    const auto type = load_be<std::uint32_t>(raw.data() + offset);
    const auto bytes = load_be<std::uint32_t>(raw.data() + offset + 4);
    offset += 8;
    require(bytes <= end - offset, "header-extension", "a header extension leaves the first cluster");
    if (type == kExtensionEnd) return;
    load_up_to(offset + bytes);
    if (type == kExtensionEncryption) parse_encryption(raw.data() + offset, bytes, header);
    header.data_file = header.data_file || type == kExtensionDataFile;
    if (type == kExtensionDataFile) {
      header.data_file_name.assign(reinterpret_cast<const char*>(raw.data() + offset), bytes);
    }
    if (type == kExtensionBitmaps) parse_bitmaps(raw.data() + offset, bytes, header);
    if (type == kExtensionBackingFormat) {
      header.backing_format.assign(reinterpret_cast<const char*>(raw.data() + offset), bytes);
    }
    offset += static_cast<std::size_t>(divide_up(bytes, 8) * 8);
  }
}

void check_encryption(const Qcow2Header& header, const Qcow2Rules& rules) {
  if (!rules.luks) {
    require(!header.encrypted, "encrypted", "the image is encrypted");
    return;
  }
  require(header.encrypted, "not-encrypted", "the image is not encrypted, and a secret was given");
  // QEMU reads AES-CBC to rescue old images only: its key is the passphrase itself.
  require(header.encryption_method == kEncryptionLuks, "encrypted",
          "the image is encrypted by another method than LUKS");
  require(header.luks_offset != 0 && header.luks_bytes != 0, "header", "the image has no LUKS header");
}

}  // namespace

bool Qcow2Header::extended_l2() const noexcept { return (incompatible & kIncompatibleExtendedL2) != 0; }
CompressedExtent Qcow2Header::compressed_extent(std::uint64_t l2_entry) const noexcept {
  const unsigned sector_shift = 62 - (cluster_bits - 8);
  const std::uint64_t offset = l2_entry & ((std::uint64_t{1} << sector_shift) - 1);
  const std::uint64_t sectors = ((l2_entry & ~(kCopied | kCompressed)) >> sector_shift) + 1;
  return {offset, sectors * 512 - offset % 512};
}
bool Qcow2Header::dirty() const noexcept { return (incompatible & kIncompatibleDirty) != 0; }
bool Qcow2Header::corrupt() const noexcept { return (incompatible & kIncompatibleCorrupt) != 0; }

Qcow2Header read_qcow2_header(const SourceFile& file) {
  Qcow2Header header;
  std::vector<std::uint8_t> raw(kHeaderBytesV2);
  file.read(0, raw.data(), raw.size());
  parse_fields(raw, header);
  if (header.version >= 3) parse_v3_fields(file, header);
  header.data_file = (header.incompatible & kIncompatibleDataFile) != 0;
  require(header.data_file || (header.autoclear & kAutoclearRawDataFile) == 0, "header",
          "the image says that its data file is raw, and has none");
  check_compression(header);
  check_tables(header);
  parse_extensions(file, header);
  parse_backing_name(file, header);
  return header;
}

void store_qcow2_header(const Qcow2Header& header, std::uint8_t* target) noexcept {
  std::memset(target, 0, kHeaderBytesNow);
  store_be<std::uint32_t>(target, kMagic);
  store_be<std::uint32_t>(target + 4, 3);
  store_be<std::uint32_t>(target + 20, header.cluster_bits);
  store_be<std::uint64_t>(target + 24, header.virtual_size);
  store_be<std::uint32_t>(target + 36, header.l1_entries);
  store_be<std::uint64_t>(target + 40, header.l1_offset);
  store_be<std::uint64_t>(target + 48, header.refcount_table_offset);
  store_be<std::uint32_t>(target + 56, header.refcount_table_clusters);
  store_be<std::uint64_t>(target + 72, header.compression_type == 0 ? 0 : kIncompatibleCompression);
  store_be<std::uint32_t>(target + 96, header.refcount_order);
  store_be<std::uint32_t>(target + 100, static_cast<std::uint32_t>(kHeaderBytesNow));
  target[104] = header.compression_type;
}

void check_qcow2_header(const Qcow2Header& header, const Qcow2Rules& rules) {
  require(rules.backing_file || !header.backing_name, "backing-file", "the image names a backing file");
  require(!header.data_file, "data-file", "the image keeps its data in another file");
  check_encryption(header, rules);
  require(!header.corrupt(), "corrupt", "the image is marked as corrupt");
  require((header.incompatible & ~kKnownIncompatible) == 0, "unknown-feature",
          "the image needs features that are not known here");
  check_virtual_size(header.virtual_size, rules.max_virtual_bytes);
  const std::uint64_t clusters = divide_up(header.virtual_size, header.cluster_size());
  require(header.l1_entries >= divide_up(clusters, header.l2_entries()), "l1-table",
          "the L1 table is too small for the disk");
}

}  // namespace node_compute
