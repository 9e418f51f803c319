#include "image/raw_writer.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>

#include "image/image_io.h"

namespace node_compute {

namespace {

/// Read and written at once: fits into the cache of a core, so that the search for zeros costs no memory
/// traffic.
constexpr std::uint64_t kBufferBytes = 256 << 10;
/// File systems share blocks of this size, and below some of them copying is quicker.
constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::uint64_t kLeastShared = 64 << 10;

std::uint64_t largest_cluster(const Disk& disk) {
  std::uint64_t largest = 0;
  for (std::uint32_t i = 0; i < disk.layers(); ++i) {
    const auto& header = disk.layer(i).qcow2;
    if (header) largest = std::max(largest, header->cluster_size());
  }
  return largest;
}

}  // namespace

RawWriter::RawWriter(const Disk& disk, int target, std::string name, std::atomic<bool>& reflinks)
    : disk_(disk),
      reader_(disk),
      target_(target),
      name_(std::move(name)),
      reflinks_(reflinks),
      buffer_(std::max(kBufferBytes, largest_cluster(disk))) {}

void RawWriter::write(const Extent& extent) {
  if (extent.reads_as_zeros() || share(extent)) return;
  if (extent.offset != held_offset_ + held_) flush();
  for (std::uint64_t done = 0; done < extent.bytes;) {
    const std::uint64_t room = buffer_.size() - held_;
    const std::uint64_t rest = extent.bytes - done;
    // A compressed cluster is decompressed in place, whole.
    if (room == 0 || (extent.kind == Extent::Kind::compressed && rest > room)) {
      flush();
      continue;
    }
    const std::uint64_t bytes = std::min(rest, room);
    if (held_ == 0) held_offset_ = extent.offset + done;
    reader_.read(extent, done, buffer_.data() + held_, bytes);
    held_ += bytes;
    done += bytes;
  }
}

void RawWriter::flush() {
  if (held_ > 0) written_bytes_ += write_sparse(target_, buffer_.data(), held_, held_offset_, name_);
  held_ = 0;
}

bool RawWriter::share(const Extent& extent) {
  if (!reflinks_ || extent.kind != Extent::Kind::data || extent.bytes < kLeastShared ||
      (extent.offset | extent.bytes | extent.file_offset) % kBlockBytes != 0) {
    return false;
  }
  const file_clone_range range{disk_.layer(extent.layer).file.descriptor(), extent.file_offset, extent.bytes,
                               extent.offset};
  if (::ioctl(target_, FICLONERANGE, &range) != 0) {
    reflinks_ = false;
    return false;
  }
  written_bytes_ += extent.bytes;
  return true;
}

}  // namespace node_compute
