#include "image/formats/file_ranges.h"

#include <algorithm>
#include <string>

#include "image/image_error.h"

namespace node_compute {

void FileRanges::claim(std::uint64_t offset, std::uint64_t bytes) {
  if (offset >= file_.size() || bytes > file_.size() - offset) {
    refuse("outside-file", "the image refers to " + std::to_string(bytes) + " bytes at offset " +
                               std::to_string(offset) + ", which are not inside the file");
  }
  claimed_ += bytes;
  if (claimed_ > file_.size()) refuse("overlap", "the image refers to more than the file holds");
}

void FileRanges::add_table(std::uint64_t offset, std::uint64_t bytes) { claim(offset, bytes); }

void FileRanges::add_block(std::uint64_t guest_offset, std::uint64_t offset, std::uint64_t bytes) {
  const std::uint64_t used = std::min(bytes, virtual_size_ > guest_offset ? virtual_size_ - guest_offset : 0);
  claim(offset, used);
  data_ += used;
}

void FileRanges::add_compressed(std::uint64_t offset, std::uint64_t stored, std::uint64_t bytes) {
  claim(offset, stored);
  data_ = std::min(virtual_size_, data_ + bytes);
}

std::uint64_t FileRanges::data_bytes() const noexcept { return std::min(data_, virtual_size_); }

}  // namespace node_compute
