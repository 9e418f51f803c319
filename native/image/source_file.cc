#include "image/source_file.h"

#include <cerrno>

#include "executor/failure.h"
#include "image/image_error.h"

namespace node_compute {

SourceFile::SourceFile(const std::string& path) : name_(path) {
  struct stat status {};
  descriptor_ = open_source(path, status);
  measure(status);
}

SourceFile::SourceFile(FileDescriptor descriptor, std::string name)
    : name_(std::move(name)), descriptor_(std::move(descriptor)) {
  struct stat status {};
  if (::fstat(descriptor_.get(), &status) != 0) throw SystemError(errno, "stat", name_);
  measure(status);
}

void SourceFile::measure(const struct stat& status) {
  size_ = static_cast<std::uint64_t>(status.st_size);
  blocks_bytes_ = static_cast<std::uint64_t>(status.st_blocks) * 512;
}

void SourceFile::read(std::uint64_t offset, void* buffer, std::size_t bytes) const {
  if (offset > size_ || bytes > size_ - offset) {
    throw ImageError("truncated", "the file ends where the format needs " + std::to_string(bytes) +
                                      " bytes at offset " + std::to_string(offset));
  }
  if (read_at(descriptor_.get(), buffer, bytes, offset, name_) != bytes) {
    throw ImageError("truncated", "the file became shorter while it was read");
  }
}

std::vector<std::uint8_t> SourceFile::read_some(std::uint64_t offset, std::size_t bytes) const {
  const std::uint64_t there = offset < size_ ? size_ - offset : 0;
  std::vector<std::uint8_t> data(static_cast<std::size_t>(std::min<std::uint64_t>(bytes, there)));
  if (!data.empty()) read(offset, data.data(), data.size());
  return data;
}

}  // namespace node_compute
