#include "storage/file_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <utility>

#include "executor/failure.h"

namespace node_compute {

std::optional<FileLock> FileLock::try_lock(const std::string& path, bool shared) {
  for (;;) {
    FileDescriptor file(
        open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0600));
    if (!file) throw SystemError(errno, "cannot open the lock", path);
    struct stat ours {};
    if (fstat(file.get(), &ours) != 0) throw SystemError(errno, "cannot stat the lock", path);
    if (!S_ISREG(ours.st_mode)) throw SystemError(EINVAL, "not a regular file:", path);
    if (flock(file.get(), (shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
      if (errno == EINTR) continue;
      if (errno == EWOULDBLOCK) return std::nullopt;
      throw SystemError(errno, "cannot lock", path);
    }
    // Somebody may have cleaned up between open and flock; a lock on a nameless file excludes nobody.
    struct stat named {};
    if (lstat(path.c_str(), &named) == 0 && named.st_ino == ours.st_ino && named.st_dev == ours.st_dev) {
      return FileLock(std::move(file));
    }
  }
}

FileLock& FileLock::operator=(FileLock&& other) noexcept {
  if (this != &other) {
    release();
    file_ = std::move(other.file_);
  }
  return *this;
}

FileLock::~FileLock() { release(); }

void FileLock::release() noexcept {
  if (!file_) return;
  // Not by close alone: a child forked meanwhile holds the same open file until it executes.
  flock(file_.get(), LOCK_UN);
  file_.reset();
}

}  // namespace node_compute
