// What the tables of an image refer to, held against the file that it is.
#pragma once

#include <cstdint>

#include "image/source_file.h"

namespace node_compute {

/// Each table and block of a good image has a place of its own, so that all of them together are never more
/// than the file. Where they are, one place is named many times: to make a walk without end, or a disk that
/// is far larger than the download. Counting needs no memory, and it bounds the time of every walk.
class FileRanges {
 public:
  FileRanges(const SourceFile& file, std::uint64_t virtual_size) : file_(file), virtual_size_(virtual_size) {}

  /// Before a table is read. ImageError `outside-file`, `overlap`.
  void add_table(std::uint64_t offset, std::uint64_t bytes);
  /// A block of the disk. Beyond the end of the disk nothing is read, and the file may end there.
  void add_block(std::uint64_t guest_offset, std::uint64_t offset, std::uint64_t bytes);
  /// A block of the disk of which the file has `stored` bytes.
  void add_compressed(std::uint64_t offset, std::uint64_t stored, std::uint64_t bytes);

  /// No conversion of the disk writes more.
  std::uint64_t data_bytes() const noexcept;

 private:
  void claim(std::uint64_t offset, std::uint64_t bytes);

  const SourceFile& file_;
  const std::uint64_t virtual_size_;
  std::uint64_t claimed_ = 0;
  std::uint64_t data_ = 0;
};

}  // namespace node_compute
