#include "image/disk.h"

#include <algorithm>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/qcow2_map.h"
#include "image/qcow2_validator.h"
#include "image/raw_map.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kSectorBytes = 512;

}  // namespace

void check_backing(const Qcow2Header& header, const std::string& name, const LayerName* below) {
  if (header.backing_name.has_value() != (below != nullptr)) {
    throw ImageError("backing-file", below ? name + " has no backing file, and " + below->path +
                                                 " was named as the one below it"
                                           : name + " has a backing file, and none was named");
  }
  if (below && !header.backing_format.empty() && header.backing_format != below->format) {
    throw ImageError("format-mismatch", name + " says that its backing file is " + header.backing_format +
                                            ", not " + below->format);
  }
}

std::vector<Layer> open_layers(const std::vector<LayerName>& names, std::uint64_t max_virtual_bytes,
                               const Cancellation& cancel) {
  if (names.empty() || names.size() > Disk::kMaxLayers) {
    throw InvalidArgument("a disk has from 1 to " + std::to_string(Disk::kMaxLayers) + " images");
  }
  std::vector<Layer> layers;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const LayerName* below = i + 1 < names.size() ? &names[i + 1] : nullptr;
    Layer layer{SourceFile(names[i].path), std::nullopt};
    if (names[i].format == "qcow2") {
      layer.qcow2 = validate_qcow2(layer.file, {max_virtual_bytes, true}, cancel).header;
      check_backing(*layer.qcow2, names[i].path, below);
    } else if (names[i].format != "raw") {
      throw ImageError("unsupported-format", "disks of the format " + names[i].format + " cannot be read");
    } else if (below) {
      throw ImageError("backing-file", names[i].path + " is raw and stands on no other image");
    } else if (layer.size() == 0) {
      throw ImageError("empty", names[i].path + " is empty");
    }
    if (layer.size() > max_virtual_bytes) {
      throw ImageError("too-large", names[i].path + " has a disk of " + std::to_string(layer.size()) +
                                        " bytes, at most " + std::to_string(max_virtual_bytes) +
                                        " are accepted");
    }
    layers.push_back(std::move(layer));
  }
  return layers;
}

Disk Disk::open(const std::vector<LayerName>& names, std::uint64_t max_virtual_bytes,
                const Cancellation& cancel) {
  return Disk(open_layers(names, max_virtual_bytes, cancel));
}

Disk::Disk(std::vector<Layer> layers) : layers_(std::move(layers)) {
  const Layer& top = layers_.front();
  size_ = top.qcow2 ? top.size() / kSectorBytes * kSectorBytes
                    : divide_up(top.size(), kSectorBytes) * kSectorBytes;
}

Extents Disk::map(std::uint64_t offset, std::uint64_t bytes) const {
  Extents extents;
  if (offset < size_) resolve(0, offset, std::min(bytes, size_ - offset), extents);
  return extents;
}

void Disk::resolve(std::uint32_t index, std::uint64_t offset, std::uint64_t bytes, Extents& extents) const {
  const Layer& layer = layers_[index];
  const std::uint64_t there = offset < layer.size() ? std::min(bytes, layer.size() - offset) : 0;
  Extents own;
  if (there > 0) {
    if (layer.qcow2) {
      Qcow2Map(layer.file, *layer.qcow2).read(offset, there, own);
    } else {
      RawMap(layer.file).read(offset, there, own);
    }
  }
  for (Extent& extent : own) {
    extent.layer = index;
    if (extent.kind == Extent::Kind::absent && index + 1 < layers_.size()) {
      resolve(index + 1, extent.offset, extent.bytes, extents);
    } else {
      append(extents, extent);
    }
  }
  // What lies beyond the end of a backing file is zeros, whatever is further below.
  if (there < bytes) {
    Extent rest;
    rest.kind = Extent::Kind::zeros;
    rest.offset = offset + there;
    rest.bytes = bytes - there;
    rest.layer = index;
    append(extents, rest);
  }
}

std::uint64_t Disk::next(std::uint64_t offset) const {
  std::uint64_t next = size_;
  for (const Layer& layer : layers_) {
    if (offset >= layer.size()) continue;
    next = std::min(next, layer.qcow2 ? Qcow2Map(layer.file, *layer.qcow2).next(offset)
                                      : RawMap(layer.file).next(offset));
  }
  return next;
}

}  // namespace node_compute
