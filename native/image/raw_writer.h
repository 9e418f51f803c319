// Guest bytes from the images of a disk into a sparse raw file; one for each thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "image/disk.h"
#include "image/disk_reader.h"

namespace node_compute {

/// Not thread-safe. Blocks of 4 KiB that are zero are left out: the target must be zero there. Where the file
/// system can, plain clusters are shared with the image instead of copied. Holds about half a MiB, or 6 MiB
/// with clusters of 2 MiB.
class RawWriter {
 public:
  /// `name` is for messages; the first file system that refuses a reflink clears `reflinks` for all.
  RawWriter(const Disk& disk, int target, std::string name, std::atomic<bool>& reflinks);

  /// Of data or compressed; the rest is nothing to write. Extents that follow each other are written at once.
  void write(const Extent& extent);
  /// Call it after the last one.
  void flush();

  /// What was written or shared, the rest are holes.
  std::uint64_t written_bytes() const noexcept { return written_bytes_; }

 private:
  bool share(const Extent& extent);

  const Disk& disk_;
  DiskReader reader_;
  const int target_;
  const std::string name_;
  std::atomic<bool>& reflinks_;
  /// Guest bytes that are not written yet, held_ of them.
  std::vector<std::uint8_t> buffer_;
  std::uint64_t held_offset_ = 0;
  std::uint64_t held_ = 0;
  std::uint64_t written_bytes_ = 0;
};

}  // namespace node_compute
