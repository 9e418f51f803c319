// A guest's disk: one image, or an overlay with the images below it, opened and validated.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "executor/cancellation.h"
#include "image/extent.h"
#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

struct LayerName {
  std::string path;
  /// `raw` or `qcow2`. Content decides nothing: a guest may write any signature to its disk.
  std::string format;
};

struct Layer {
  SourceFile file;
  /// Empty for raw.
  std::optional<Qcow2Header> qcow2;

  std::uint64_t size() const noexcept { return qcow2 ? qcow2->virtual_size : file.size(); }
};

/// Whether what the header of `name` says of its backing file fits the image that is given for it; null where
/// there is none. ImageError `backing-file` for a name without an image or an image without a name,
/// `format-mismatch`.
void check_backing(const Qcow2Header& header, const std::string& name, const LayerName* below);

/// From the top down. Only these files are opened, whatever the headers say, which must fit (check_backing).
/// Every qcow2 is validated whole. ImageError `too-large` for a disk of more than `max_virtual_bytes`,
/// SystemError, Cancelled.
std::vector<Layer> open_layers(const std::vector<LayerName>& names, std::uint64_t max_virtual_bytes,
                               const Cancellation& cancel);

/// Safe to read from many threads.
class Disk {
 public:
  static constexpr std::size_t kMaxLayers = 64;

  /// open_layers() and no more.
  static Disk open(const std::vector<LayerName>& names, std::uint64_t max_virtual_bytes,
                   const Cancellation& cancel);
  /// Of images that the caller has validated.
  explicit Disk(std::vector<Layer> layers);

  /// Whole sectors of 512 bytes, as QEMU counts: qcow2 disks rounded down, raw ones up.
  std::uint64_t size() const noexcept { return size_; }
  const Layer& layer(std::uint32_t index) const noexcept { return layers_[index]; }
  std::size_t layers() const noexcept { return layers_.size(); }

  /// What `bytes` from `offset` on are, cut at the end of the disk; the extents follow each other.
  Extents map(std::uint64_t offset, std::uint64_t bytes) const;
  /// All from `offset` up to what this gives reads as zeros.
  std::uint64_t next(std::uint64_t offset) const;

 private:
  void resolve(std::uint32_t layer, std::uint64_t offset, std::uint64_t bytes, Extents& extents) const;

  std::vector<Layer> layers_;
  std::uint64_t size_ = 0;
};

}  // namespace node_compute
