#include "image/file_sink.h"

#include "executor/failure.h"
#include "image/image_error.h"

namespace node_compute {

FileSink::FileSink(const std::string& path, const CopyOptions& options)
    : path_(path),
      max_bytes_(options.max_bytes),
      sync_(options.sync),
      digest_(options.digest),
      descriptor_(create_target(path)) {}

void FileSink::write(const std::uint8_t* data, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (!descriptor_) throw Closed("the file " + path_ + " is closed");
  if (bytes > max_bytes_ - bytes_) {
    descriptor_.reset();
    throw ImageError("too-large", "more than " + std::to_string(max_bytes_) + " bytes arrived");
  }
  try {
    write_sparse(descriptor_.get(), data, bytes, bytes_, path_);
  } catch (...) {
    descriptor_.reset();
    throw;
  }
  digest_.update(data, bytes);
  bytes_ += bytes;
}

CopyResult FileSink::finish() {
  const std::lock_guard lock(mutex_);
  if (!descriptor_) throw Closed("the file " + path_ + " is closed");
  const FileDescriptor descriptor = std::move(descriptor_);
  truncate_to(descriptor.get(), bytes_, path_);
  if (sync_) sync(descriptor.get(), path_);
  return CopyResult{bytes_, digest_.finish()};
}

void FileSink::abandon() noexcept {
  const std::lock_guard lock(mutex_);
  descriptor_.reset();
}

}  // namespace node_compute
