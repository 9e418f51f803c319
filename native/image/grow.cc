#include "image/grow.h"

#include <fcntl.h>

#include <cerrno>
#include <filesystem>
#include <limits>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/image_lock.h"
#include "image/qcow2_grower.h"
#include "image/qcow2_snapshots.h"
#include "image/qcow2_validator.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kMaxVirtualBytes = std::uint64_t{std::numeric_limits<std::int64_t>::max()} - 511;

FileDescriptor open_for_edit(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file) throw SystemError(errno, "open", path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw SystemError(errno, "stat", path);
  if (!S_ISREG(status.st_mode)) throw ImageError("not-regular-file", path + " is not a regular file");
  return file;
}

FileDescriptor duplicate(const FileDescriptor& descriptor, const std::string& path) {
  FileDescriptor second(::fcntl(descriptor.get(), F_DUPFD_CLOEXEC, 0));
  if (!second) throw SystemError(errno, "duplicate", path);
  return second;
}

/// The disk in the backing file: only its length is read.
std::uint64_t backing_bytes(const SourceFile& file, const Qcow2Header& header) {
  const std::string& name = *header.backing_name;
  // As QEMU: a colon before any slash makes it a protocol.
  const std::size_t colon = name.find(':');
  if (name.empty() || name.find('\0') != std::string::npos ||
      (colon != std::string::npos && colon < name.find('/'))) {
    throw ImageError("backing-file", "the backing file of " + file.name() + " is not named by a path");
  }
  const std::string path = (std::filesystem::path(file.name()).parent_path() / name).string();
  if (header.backing_format == "raw") return SourceFile(path).size();
  if (header.backing_format == "qcow2") return read_qcow2_header(SourceFile(path)).virtual_size;
  throw ImageError("backing-file", file.name() + " does not say whether its backing file is raw or qcow2");
}

void check_growable(const SourceFile& file, const Qcow2Header& header) {
  if (header.dirty())
    throw ImageError("dirty", "the image was not closed properly: run qemu-img check -r all");
  if (header.bitmap_directory_bytes > 0) {
    throw ImageError("bitmaps", "the image has bitmaps, which would no longer fit the disk");
  }
  // Without a size of its own a snapshot would grow with the disk.
  each_snapshot(file, header, [&header](const Qcow2Snapshot& snapshot) {
    if (header.version < 3 || !snapshot.virtual_size) {
      throw ImageError("snapshots", "the image has snapshots that do not say how large the disk was");
    }
  });
  // What the disk's old end hid of a longer backing file would come to light.
  if (header.backing_name && backing_bytes(file, header) > header.virtual_size) {
    throw ImageError("backing-file", "the backing file is longer than the disk");
  }
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

GrowResult grow_image(const std::string& path, const std::string& format, std::uint64_t virtual_size,
                      const Cancellation& cancel) {
  const FileDescriptor descriptor = open_for_edit(path);
  const ImageLock lock(descriptor.get(), path);
  ImageWriter writer(descriptor.get(), path);
  // After the lock, since it measures the file.
  const SourceFile file(duplicate(descriptor, path), path);
  return grow_file(file, writer, format, virtual_size, cancel);
}

GrowResult grow_file(const SourceFile& file, ImageWriter& writer, const std::string& format,
                     std::uint64_t virtual_size, const Cancellation& cancel) {
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
  check_growable(file, header);
  if (virtual_size > header.virtual_size) Qcow2Grower(file, header, writer, cancel).grow_to(virtual_size);
  return {header.virtual_size, virtual_size};
}

}  // namespace node_compute
