#include "image/copy.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "executor/failure.h"
#include "image/digest.h"
#include "image/image_error.h"
#include "image/image_io.h"

namespace node_compute {

namespace {

constexpr std::size_t kBufferBytes = 1 << 20;
/// Between two looks at the cancellation; a disk of 100 MB/s takes 80 ms for it.
constexpr std::uint64_t kRangeBytes = 8 << 20;

class Copy {
 public:
  Copy(int source, const std::string& source_path, const NewFile& target, std::uint64_t bytes, Digest& digest,
       const Cancellation& cancel)
      : source_(source),
        source_path_(source_path),
        target_(target),
        bytes_(bytes),
        digest_(digest),
        cancel_(cancel) {}

  void run() {
    if (::ioctl(target_.get(), FICLONE, source_) == 0) {
      // What was cloned is what is hashed: the source may change meanwhile.
      struct stat status {};
      if (::fstat(target_.get(), &status) != 0) throw SystemError(errno, "stat", target_.path());
      if (static_cast<std::uint64_t>(status.st_size) != bytes_) throw_changed();
      if (digest_.wanted()) copy_extents(target_.get(), false);
      return;
    }
    truncate_to(target_.get(), bytes_, target_.path());
    copy_extents(source_, true);
  }

 private:
  void check_cancelled() const {
    if (cancel_.cancelled()) throw Cancelled();
  }

  [[noreturn]] void throw_changed() const {
    throw ImageError("truncated", source_path_ + " changed its size while it was copied");
  }

  /// Gives each range of data of `from` to the hash and, with `write`, to the target; holes are hashed as
  /// zeros.
  void copy_extents(int from, bool write) {
    std::uint64_t position = 0;
    while (position < bytes_) {
      const std::uint64_t data = std::min(seek(from, position, SEEK_DATA), bytes_);
      hash_hole(data - position);
      if (data == bytes_) return;
      const std::uint64_t end = std::min(seek(from, data, SEEK_HOLE), bytes_);
      if (write && !digest_.wanted()) {
        copy_range(data, end);
      } else {
        copy_through_memory(from, data, end, write);
      }
      position = end;
    }
  }

  /// Beyond the last data there is none: the end of the file. A file system that knows no holes says that all
  /// is data.
  std::uint64_t seek(int from, std::uint64_t offset, int whence) const {
    const off_t found = ::lseek(from, static_cast<off_t>(offset), whence);
    if (found >= 0) return static_cast<std::uint64_t>(found);
    if (errno == ENXIO) return bytes_;
    if (errno == EINVAL) return whence == SEEK_DATA ? offset : bytes_;
    throw SystemError(errno, "seek", source_path_);
  }

  void hash_hole(std::uint64_t bytes) {
    while (bytes > 0 && digest_.wanted()) {
      check_cancelled();
      const std::uint64_t length = std::min<std::uint64_t>(bytes, kRangeBytes);
      digest_.update_zeros(length);
      bytes -= length;
    }
  }

  void copy_range(std::uint64_t offset, std::uint64_t end) {
    while (offset < end && in_kernel_) {
      check_cancelled();
      loff_t from = static_cast<loff_t>(offset);
      loff_t to = from;
      const std::size_t length = static_cast<std::size_t>(std::min(end - offset, kRangeBytes));
      const ssize_t done = ::copy_file_range(source_, &from, target_.get(), &to, length, 0);
      if (done > 0) {
        offset += static_cast<std::uint64_t>(done);
      } else if (done == 0) {
        // The end of the source, or a file system that lies about it: read() tells which.
        break;
      } else if (errno == EXDEV || errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP ||
                 errno == EPERM) {
        in_kernel_ = false;
      } else if (errno != EINTR) {
        throw SystemError(errno, "copy to", target_.path());
      }
    }
    copy_through_memory(source_, offset, end, true);
  }

  void copy_through_memory(int from, std::uint64_t offset, std::uint64_t end, bool write) {
    if (offset < end && buffer_.empty()) buffer_.resize(kBufferBytes);
    while (offset < end) {
      check_cancelled();
      const std::size_t length =
          static_cast<std::size_t>(std::min<std::uint64_t>(end - offset, kBufferBytes));
      if (read_at(from, buffer_.data(), length, offset, source_path_) != length) throw_changed();
      digest_.update(buffer_.data(), length);
      if (write) write_at(target_.get(), buffer_.data(), length, offset, target_.path());
      offset += length;
    }
  }

  int source_;
  const std::string& source_path_;
  const NewFile& target_;
  std::uint64_t bytes_;
  Digest& digest_;
  const Cancellation& cancel_;
  bool in_kernel_ = true;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace

CopyResult copy_file(const std::string& source, const std::string& target, const CopyOptions& options,
                     const Cancellation& cancel) {
  Digest digest(options.digest);
  struct stat status {};
  const FileDescriptor from = open_source(source, status);
  CopyResult result;
  result.bytes = static_cast<std::uint64_t>(status.st_size);
  if (result.bytes > options.max_bytes) {
    throw ImageError("too-large", source + " has " + std::to_string(result.bytes) + " bytes, at most " +
                                      std::to_string(options.max_bytes) + " are accepted");
  }
  NewFile file(target);
  Copy(from.get(), source, file, result.bytes, digest, cancel).run();
  if (cancel.cancelled()) throw Cancelled();
  if (options.grown_bytes > result.bytes) truncate_to(file.get(), options.grown_bytes, target);
  if (options.sync) sync(file.get(), target);
  result.digest = digest.finish();
  file.keep();
  return result;
}

}  // namespace node_compute
