#include "image/file_sink.h"

#include "executor/failure.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kWritebackBytes = 8 << 20;

}  // namespace

FileSink::FileSink(const std::string& path, const SinkOptions& options)
    : path_(path),
      max_bytes_(options.copy.max_bytes),
      sync_(options.copy.sync),
      digest_(options.copy.digest),
      descriptor_(create_target(path)) {
  if (options.expected_bytes > 0) truncate_to(descriptor_.get(), options.expected_bytes, path_);
}

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
  if (sync_ && bytes_ - written_back_ >= kWritebackBytes) {
    start_writeback(descriptor_.get(), written_back_, bytes_ - written_back_);
    written_back_ = bytes_;
  }
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
