#include "storage/log_rotation.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "executor/failure.h"
#include "storage/file_descriptor.h"

namespace node_compute {

namespace {

/// Appends what `from` has from `begin` up to `end`, or up to its end where that comes first. Where it ended.
off_t append_range(int from, off_t begin, off_t end, int to, const std::string& path) {
  std::array<char, 65'536> chunk{};
  off_t at = begin;
  while (at < end) {
    const auto want = static_cast<std::size_t>(std::min<off_t>(end - at, chunk.size()));
    const ssize_t count = pread(from, chunk.data(), want, at);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw SystemError(errno, "read", path);
    if (count == 0) break;
    for (ssize_t done = 0; done < count;) {
      const ssize_t written = write(to, chunk.data() + done, static_cast<std::size_t>(count - done));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw SystemError(errno, "write", path + ".0");
      done += written;
    }
    at += count;
  }
  return at;
}

off_t size_of(int fd, const std::string& path) {
  struct stat status {};
  if (fstat(fd, &status) < 0) throw SystemError(errno, "fstat", path);
  return status.st_size;
}

}  // namespace

bool rotate_log(const std::string& path, std::uint64_t most) {
  const FileDescriptor log(open(path.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (log.get() < 0) {
    if (errno == ENOENT) return false;
    throw SystemError(errno, "open", path);
  }
  struct stat status {};
  if (fstat(log.get(), &status) < 0) throw SystemError(errno, "fstat", path);
  if (!S_ISREG(status.st_mode)) throw SystemError(EINVAL, "rotate", path);
  if (static_cast<std::uint64_t>(status.st_size) <= most) return false;

  const std::string fresh = path + ".0.new";
  if (unlink(fresh.c_str()) < 0 && errno != ENOENT) throw SystemError(errno, "unlink", fresh);
  const FileDescriptor old(open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (old.get() < 0) throw SystemError(errno, "open", fresh);
  try {
    // Only whole blocks can be collapsed, and not all of the file.
    const off_t block = std::max<off_t>(status.st_blksize, 1);
    const off_t whole = (status.st_size - 1) / block * block;
    const off_t begin = std::max<off_t>(0, whole - static_cast<off_t>(most));
    append_range(log.get(), begin, whole, old.get(), path);
    if (rename(fresh.c_str(), (path + ".0").c_str()) < 0) throw SystemError(errno, "rename", fresh);
    if (whole > 0 && fallocate(log.get(), FALLOC_FL_COLLAPSE_RANGE, 0, whole) == 0) return true;
    // As late as can be: the writer goes on.
    for (off_t at = whole; at < size_of(log.get(), path);) {
      at = append_range(log.get(), at, size_of(log.get(), path), old.get(), path);
    }
    if (ftruncate(log.get(), 0) < 0) throw SystemError(errno, "ftruncate", path);
  } catch (...) {
    unlink(fresh.c_str());
    throw;
  }
  return true;
}

}  // namespace node_compute
