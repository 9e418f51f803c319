#include "image/grow.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <optional>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/disk_reader.h"
#include "image/image_error.h"
#include "image/image_io.h"
#include "image/image_lock.h"
#include "image/qcow2_cover.h"
#include "image/qcow2_grower.h"
#include "image/qcow2_snapshots.h"
#include "image/qcow2_validator.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kMaxVirtualBytes = std::uint64_t{std::numeric_limits<std::int64_t>::max()} - 511;

FileDescriptor duplicate(int descriptor, const std::string& path) {
  FileDescriptor second(::fcntl(descriptor, F_DUPFD_CLOEXEC, 0));
  if (!second) throw SystemError(errno, "duplicate", path);
  return second;
}

/// Of the disk in the image below; only its length is read.
std::uint64_t disk_bytes(const LayerName& layer) {
  const SourceFile file(layer.path);
  if (layer.format == "raw") return file.size();
  if (layer.format == "qcow2") return read_qcow2_header(file).virtual_size;
  throw ImageError("unsupported-format", "disks of the format " + layer.format + " cannot be read");
}

void check_growable(const SourceFile& file, const Qcow2Header& header, const std::vector<LayerName>& below) {
  if (header.dirty())
    throw ImageError("dirty", "the image was not closed properly: run qemu-img check -r all");
  if (header.bitmap_directory_bytes > 0) {
    throw ImageError("bitmaps", "the image has bitmaps, which would no longer fit the disk");
  }
  check_backing(header, file.name(), below.empty() ? nullptr : &below.front());
  // Without a size of its own a snapshot would grow with the disk.
  each_snapshot(file, header, [&header](const Qcow2Snapshot& snapshot) {
    if (header.version < 3 || !snapshot.virtual_size) {
      throw ImageError("snapshots", "the image has snapshots that do not say how large the disk was");
    }
  });
}

/// The cluster that the end of the disk is inside of, as the guest sees it up to there, and zeros; empty
/// where there is none, or nothing but zeros.
std::vector<std::uint8_t> read_split_cluster(const SourceFile& file, const Qcow2Header& header,
                                             const std::vector<LayerName>& below, std::uint64_t disk_end,
                                             const Cancellation& cancel) {
  const std::uint64_t bytes = disk_end % header.cluster_size();
  if (bytes == 0) return {};
  std::vector<Layer> layers;
  layers.push_back({SourceFile(duplicate(file.descriptor(), file.name()), file.name()), header});
  for (Layer& layer : open_layers(below, kMaxVirtualBytes, cancel)) layers.push_back(std::move(layer));
  const Disk disk(std::move(layers));
  std::vector<std::uint8_t> cluster(static_cast<std::size_t>(header.cluster_size()));
  DiskReader(disk).read(disk_end - bytes, cluster.data(), bytes);
  if (is_zero(cluster.data(), cluster.size())) return {};
  return cluster;
}

/// What of a longer backing file would show up to `virtual_size` is covered; nothing where nothing would.
std::optional<Qcow2Cover> make_cover(const SourceFile& file, const Qcow2Header& header,
                                     const std::vector<LayerName>& below, std::uint64_t virtual_size,
                                     const Cancellation& cancel) {
  if (below.empty()) return std::nullopt;
  // As QEMU counts: in whole sectors.
  const std::uint64_t begin = header.virtual_size / 512 * 512;
  const std::uint64_t end = std::min(disk_bytes(below.front()), virtual_size);
  if (end <= begin) return std::nullopt;
  if (header.version < 3) {
    throw ImageError(
        "backing-file",
        "the backing file is longer than the disk, and version 2 has no zero clusters to hide its "
        "rest: convert the image to version 3 (qemu-img amend -o compat=1.1)");
  }
  return std::optional<Qcow2Cover>(std::in_place, file, header, begin, end,
                                   read_split_cluster(file, header, below, begin, cancel));
}

GrowResult grow_raw(const SourceFile& file, ImageWriter& writer, std::uint64_t virtual_size) {
  if (virtual_size < file.size()) throw ImageError("shrink", "the disk has more bytes than that already");
  if (virtual_size > file.size()) {
    writer.resize(virtual_size);
    writer.barrier();
  }
  return {file.size(), virtual_size};
}

}  // namespace

GrowResult grow_image(const std::vector<LayerName>& layers, std::uint64_t virtual_size,
                      const Cancellation& cancel) {
  if (layers.empty() || layers.size() > Disk::kMaxLayers) {
    throw InvalidArgument("what grows is one image, with those below it where there are any");
  }
  const auto& [path, format] = layers.front();
  const FileDescriptor descriptor = open_for_edit(path);
  const ImageLock lock(descriptor.get(), path);
  ImageWriter writer(descriptor.get(), path);
  // After the lock, since it measures the file.
  const SourceFile file(duplicate(descriptor.get(), path), path);
  return grow_file(file, writer, format, {layers.begin() + 1, layers.end()}, virtual_size, cancel);
}

GrowResult grow_file(const SourceFile& file, ImageWriter& writer, const std::string& format,
                     const std::vector<LayerName>& below, std::uint64_t virtual_size,
                     const Cancellation& cancel) {
  if (virtual_size > kMaxVirtualBytes)
    throw ImageError("too-large", "no disk has more than 2^63 - 512 bytes");
  virtual_size = divide_up(virtual_size, 512) * 512;
  if (format == "raw") return grow_raw(file, writer, virtual_size);
  if (format != "qcow2") {
    throw ImageError("unsupported-format", "images of the format " + format + " cannot grow");
  }
  const Qcow2Header header = validate_qcow2(file, {kMaxVirtualBytes, true}, cancel).header;
  if (virtual_size < header.virtual_size) {
    throw ImageError("shrink", "the disk has " + std::to_string(header.virtual_size) + " bytes already");
  }
  check_growable(file, header, below);
  if (virtual_size > header.virtual_size) {
    const std::optional<Qcow2Cover> cover = make_cover(file, header, below, virtual_size, cancel);
    Qcow2Grower(file, header, writer, cancel).grow_to(virtual_size, cover ? &*cover : nullptr);
  }
  return {header.virtual_size, virtual_size};
}

}  // namespace node_compute
