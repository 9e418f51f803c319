#include "image/disk_reader.h"

#include <cstring>

namespace node_compute {

void DiskReader::read(std::uint64_t offset, std::uint8_t* target, std::uint64_t bytes) {
  for (const Extent& extent : disk_.map(offset, bytes)) {
    std::uint8_t* to = target + (extent.offset - offset);
    if (extent.reads_as_zeros()) {
      std::memset(to, 0, extent.bytes);
    } else {
      read(extent, 0, to, extent.bytes);
    }
  }
}

void DiskReader::read(const Extent& extent, std::uint64_t from, std::uint8_t* target, std::uint64_t bytes) {
  if (extent.kind == Extent::Kind::compressed) {
    read_compressed(extent, extent.skip + from, target, bytes);
  } else {
    disk_.layer(extent.layer).file.read(extent.file_offset + from, target, bytes);
  }
}

void DiskReader::read_compressed(const Extent& extent, std::uint64_t skip, std::uint8_t* target,
                                 std::uint64_t bytes) {
  const std::uint64_t cluster = disk_.layer(extent.layer).qcow2->cluster_size();
  if (bytes == cluster) return decompress(extent, target, cluster);
  const auto wanted = std::make_pair(extent.layer, extent.file_offset);
  if (held_ != wanted) {
    held_.reset();
    cluster_.resize(cluster);
    decompress(extent, cluster_.data(), cluster);
    held_ = wanted;
  }
  std::memcpy(target, cluster_.data() + skip, bytes);
}

void DiskReader::decompress(const Extent& extent, std::uint8_t* target, std::uint64_t cluster) {
  const Layer& layer = disk_.layer(extent.layer);
  auto& decompressor = decompressors_[layer.qcow2->compression_type];
  if (!decompressor) decompressor.emplace(static_cast<Compression>(layer.qcow2->compression_type));
  if (stream_.size() < extent.compressed_bytes) stream_.resize(extent.compressed_bytes);
  layer.file.read(extent.file_offset, stream_.data(), extent.compressed_bytes);
  decompressor->run(stream_.data(), extent.compressed_bytes, target, cluster);
}

}  // namespace node_compute
