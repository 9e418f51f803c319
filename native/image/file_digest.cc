#include "image/file_digest.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>

#include "executor/failure.h"
#include "image/image_error.h"
#include "image/image_io.h"

namespace node_compute {

namespace {

/// Also the alignment of all reads: more than any disk asks of O_DIRECT.
constexpr std::uint64_t kBlock = 64 * 1024;
constexpr std::uint64_t kReadBytes = 1 << 20;
constexpr std::size_t kMemoryAlignment = 4096;
constexpr std::uint64_t kZerosPerWork = 16;

std::uint64_t align_down(std::uint64_t offset) { return offset - offset % kBlock; }

std::array<std::uint8_t, 8> little_endian(std::uint64_t value) {
  std::array<std::uint8_t, 8> bytes{};
  for (auto& byte : bytes) {
    byte = static_cast<std::uint8_t>(value & 0xff);
    value >>= 8;
  }
  return bytes;
}

}  // namespace

FileDigest::FileDigest(const std::string& path, const FileDigestOptions& options)
    : path_(path),
      sparse_(options.algorithm == "sparse-sha256"),
      digest_(sparse_ ? "sha256" : options.algorithm),
      buffer_(static_cast<std::uint8_t*>(std::aligned_alloc(kMemoryAlignment, kReadBytes))) {
  if (!digest_.wanted()) throw InvalidArgument("the digest of a file needs an algorithm");
  if (!buffer_) throw std::bad_alloc();
  struct stat status {};
  file_ = open_source(path, status);
  size_ = static_cast<std::uint64_t>(status.st_size);
  inode_ = status.st_ino;
  // By fcntl: a file system that has no direct reads says so without failing the open.
  direct_ = options.direct && ::fcntl(file_.get(), F_SETFL, O_RDONLY | O_DIRECT) == 0;
  if (sparse_) digest_.update(little_endian(size_).data(), 8);
}

FileDigest::Piece FileDigest::advance(std::uint64_t most, const Cancellation& cancel) {
  const std::lock_guard lock(mutex_);
  std::uint64_t work = 0;
  while (position_ < size_ && work < most) {
    if (cancel.cancelled()) throw Cancelled();
    const std::uint64_t data = next_data(position_);
    if (data > position_) {
      if (sparse_) {
        position_ = data;
        continue;
      }
      const std::uint64_t zeros = std::min(data - position_, kReadBytes * kZerosPerWork);
      digest_.update_zeros(zeros);
      position_ += zeros;
      work += zeros / kZerosPerWork;
      continue;
    }
    const std::uint64_t bytes = std::min({kReadBytes, size_ - position_, data_end(position_) - position_});
    read(bytes);
    take(bytes);
    work += bytes;
  }
  if (position_ == size_ && !value_) value_ = digest_.finish();
  return {work, position_, value_};
}

/// In whole blocks; the end of the file where only a hole follows. A file system that knows no holes says
/// that all is data.
std::uint64_t FileDigest::next_data(std::uint64_t offset) const {
  const off_t found = ::lseek(file_.get(), static_cast<off_t>(offset), SEEK_DATA);
  if (found < 0) return errno == ENXIO ? size_ : offset;
  return std::min(align_down(static_cast<std::uint64_t>(found)), size_);
}

/// Where the data of the block at `offset` and of those after it ends, in whole blocks.
std::uint64_t FileDigest::data_end(std::uint64_t offset) const {
  const off_t data = ::lseek(file_.get(), static_cast<off_t>(offset), SEEK_DATA);
  const off_t hole = data < 0 ? data : ::lseek(file_.get(), data, SEEK_HOLE);
  return hole < 0 ? size_ : align_down(static_cast<std::uint64_t>(hole) + kBlock - 1);
}

/// A direct read must be of a whole length, and must not go on where the file ended in the middle of a block.
void FileDigest::read(std::uint64_t bytes) {
  const std::uint64_t length = align_down(bytes + kBlock - 1);
  for (std::uint64_t done = 0; done < bytes;) {
    const ssize_t got =
        ::pread(file_.get(), buffer_.get() + done, length - done, static_cast<off_t>(position_ + done));
    if (got > 0) {
      done += static_cast<std::uint64_t>(got);
    } else if (got == 0) {
      throw ImageError("truncated", path_ + " became shorter while it was read");
    } else if (errno == EINVAL && direct_) {
      direct_ = false;
      ::fcntl(file_.get(), F_SETFL, O_RDONLY);
    } else if (errno != EINTR) {
      throw SystemError(errno, "read", path_);
    }
  }
}

void FileDigest::take(std::uint64_t bytes) {
  if (!sparse_) {
    digest_.update(buffer_.get(), bytes);
    position_ += bytes;
    return;
  }
  for (std::uint64_t done = 0; done < bytes; done += kBlock) {
    const std::size_t length = static_cast<std::size_t>(std::min(kBlock, bytes - done));
    const std::uint8_t* const block = buffer_.get() + done;
    if (is_zero(block, length)) continue;
    digest_.update(little_endian(position_ + done).data(), 8);
    digest_.update(block, length);
  }
  position_ += bytes;
}

std::string digest_file(const std::string& path, const std::string& algorithm, const Cancellation& cancel) {
  FileDigest digest(path, {algorithm, false});
  for (;;) {
    const FileDigest::Piece piece = digest.advance(64 * kReadBytes, cancel);
    if (piece.value) return *piece.value;
  }
}

}  // namespace node_compute
