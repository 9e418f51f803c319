#include "image/convert_raw.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "image/disk_reader.h"
#include "image/image_io.h"
#include "image/units.h"

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

class RawWriter : public UnitWorker {
 public:
  RawWriter(const Disk& disk, int target, const std::string& name, std::atomic<bool>& reflinks)
      : disk_(disk),
        reader_(disk),
        target_(target),
        name_(name),
        reflinks_(reflinks),
        buffer_(std::max(kBufferBytes, largest_cluster(disk))) {}

  void run(const Unit& unit) override {
    for (const Extent& extent : disk_.map(unit.offset, unit.bytes)) {
      if (!extent.reads_as_zeros() && !share(extent)) add(extent);
    }
    flush();
  }

  std::uint64_t written_bytes() const noexcept { return written_bytes_; }

 private:
  /// Extents that follow each other on the disk are written at once.
  void add(const Extent& extent) {
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

  void flush() {
    if (held_ > 0) written_bytes_ += write_sparse(target_, buffer_.data(), held_, held_offset_, name_);
    held_ = 0;
  }

  /// By reference, without copying. The first file system that refuses is not asked again.
  bool share(const Extent& extent) {
    if (!reflinks_ || extent.kind != Extent::Kind::data || extent.bytes < kLeastShared ||
        (extent.offset | extent.bytes | extent.file_offset) % kBlockBytes != 0) {
      return false;
    }
    const file_clone_range range{disk_.layer(extent.layer).file.descriptor(), extent.file_offset,
                                 extent.bytes, extent.offset};
    if (::ioctl(target_, FICLONERANGE, &range) != 0) {
      reflinks_ = false;
      return false;
    }
    written_bytes_ += extent.bytes;
    return true;
  }

  const Disk& disk_;
  DiskReader reader_;
  const int target_;
  const std::string& name_;
  std::atomic<bool>& reflinks_;
  /// Guest bytes that are not written yet, held_ of them.
  std::vector<std::uint8_t> buffer_;
  std::uint64_t held_offset_ = 0;
  std::uint64_t held_ = 0;
  std::uint64_t written_bytes_ = 0;
};

}  // namespace

std::uint64_t convert_to_raw(const Disk& disk, int target, const std::string& name, unsigned threads,
                             Cancellation& cancel) {
  truncate_to(target, disk.size(), name);
  std::atomic<bool> reflinks{true};
  std::vector<std::unique_ptr<UnitWorker>> workers;
  for (unsigned i = 0; i < conversion_threads(threads); ++i) {
    workers.push_back(std::make_unique<RawWriter>(disk, target, name, reflinks));
  }
  run_workers(disk, workers, cancel);
  std::uint64_t written = 0;
  for (const auto& worker : workers) written += static_cast<RawWriter&>(*worker).written_bytes();
  return written;
}

}  // namespace node_compute
