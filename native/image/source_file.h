// An image opened for inspection: every read is inside the length it had when it was opened.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "image/image_io.h"

namespace node_compute {

class SourceFile {
 public:
  /// Throws SystemError, ImageError `not-regular-file`.
  explicit SourceFile(const std::string& path);
  /// Takes an open regular file; `name` is for messages.
  SourceFile(FileDescriptor descriptor, std::string name);

  std::uint64_t size() const noexcept { return size_; }
  /// Of its length; a file may take more room than it is long.
  std::uint64_t allocated() const noexcept { return std::min(size_, blocks_bytes_); }
  std::uint64_t blocks_bytes() const noexcept { return blocks_bytes_; }
  int descriptor() const noexcept { return descriptor_.get(); }
  const std::string& name() const noexcept { return name_; }

  /// Exactly `bytes`; ImageError `truncated` where the file has fewer.
  void read(std::uint64_t offset, void* buffer, std::size_t bytes) const;
  /// Up to `bytes`: fewer where the file ends.
  std::vector<std::uint8_t> read_some(std::uint64_t offset, std::size_t bytes) const;

 private:
  void measure(const struct stat& status);

  std::string name_;
  FileDescriptor descriptor_;
  std::uint64_t size_ = 0;
  std::uint64_t blocks_bytes_ = 0;
};

}  // namespace node_compute
