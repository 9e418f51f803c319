#include "image/image_io.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "executor/failure.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

constexpr std::size_t kHoleBlock = 4096;

}  // namespace

bool is_zero(const std::uint8_t* data, std::size_t bytes) noexcept {
  return bytes == 0 || (data[0] == 0 && std::memcmp(data, data + 1, bytes - 1) == 0);
}

FileDescriptor open_source(const std::string& path, struct stat& status) {
  FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!descriptor) throw SystemError(errno, "open", path);
  if (::fstat(descriptor.get(), &status) != 0) throw SystemError(errno, "stat", path);
  if (!S_ISREG(status.st_mode)) throw ImageError("not-regular-file", path + " is not a regular file");
  return descriptor;
}

FileDescriptor create_target(const std::string& path) {
  FileDescriptor descriptor(
      ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR));
  if (!descriptor) throw SystemError(errno, "create", path);
  // A umask that takes the owner's bits would leave a file that the next open is refused.
  if (::fchmod(descriptor.get(), S_IRUSR | S_IWUSR) != 0) {
    const int number = errno;
    ::unlink(path.c_str());
    throw SystemError(number, "chmod", path);
  }
  return descriptor;
}

std::size_t read_at(int descriptor, void* buffer, std::size_t bytes, std::uint64_t offset,
                    const std::string& path) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::pread(descriptor, static_cast<char*>(buffer) + done, bytes - done,
                                static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw SystemError(errno, "read", path);
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

void write_at(int descriptor, const void* data, std::size_t bytes, std::uint64_t offset,
              const std::string& path) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t put = ::pwrite(descriptor, static_cast<const char*>(data) + done, bytes - done,
                                 static_cast<off_t>(offset + done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) throw SystemError(errno, "write", path);
    done += static_cast<std::size_t>(put);
  }
}

std::uint64_t write_sparse(int descriptor, const std::uint8_t* data, std::size_t bytes, std::uint64_t offset,
                           const std::string& path) {
  std::uint64_t written = 0;
  const auto write = [&](std::size_t from, std::size_t to) {
    if (to > from) write_at(descriptor, data + from, to - from, offset + from, path);
    written += to - from;
  };
  // Blocks are counted in the file, not in the buffer: otherwise a hole would never be a whole block of the
  // disk.
  std::size_t run = 0;
  std::size_t position = 0;
  while (position < bytes) {
    const std::size_t to_boundary = kHoleBlock - static_cast<std::size_t>((offset + position) % kHoleBlock);
    const std::size_t length = std::min(bytes - position, to_boundary);
    if (is_zero(data + position, length)) {
      write(run, position);
      run = position + length;
    }
    position += length;
  }
  write(run, position);
  return written;
}

void start_writeback(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept {
  ::sync_file_range(descriptor, static_cast<off64_t>(offset), static_cast<off64_t>(bytes),
                    SYNC_FILE_RANGE_WRITE);
}

void truncate_to(int descriptor, std::uint64_t bytes, const std::string& path) {
  while (::ftruncate(descriptor, static_cast<off_t>(bytes)) != 0) {
    if (errno != EINTR) throw SystemError(errno, "truncate", path);
  }
}

void sync(int descriptor, const std::string& path) {
  while (::fsync(descriptor) != 0) {
    if (errno != EINTR) throw SystemError(errno, "fsync", path);
  }
}

}  // namespace node_compute
