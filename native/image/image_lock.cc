#include "image/image_lock.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "executor/failure.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

constexpr off_t kFirstByte = 100;
constexpr off_t kBytes = 200;

int lock(int descriptor, short type) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = kFirstByte;
  range.l_len = kBytes;
  return ::fcntl(descriptor, F_OFD_SETLK, &range);
}

}  // namespace

FileDescriptor open_for_edit(const std::string& path) {
  FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file) throw SystemError(errno, "open", path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw SystemError(errno, "stat", path);
  if (!S_ISREG(status.st_mode)) throw ImageError("not-regular-file", path + " is not a regular file");
  return file;
}

ImageLock::ImageLock(int descriptor, const std::string& name) : descriptor_(descriptor) {
  if (lock(descriptor, F_WRLCK) == 0) return;
  const int number = errno;
  if (number != EAGAIN && number != EACCES) throw SystemError(number, "lock", name);
  throw ImageError("in-use", name + " is open in QEMU or in another program; stop that first");
}

ImageLock::~ImageLock() { lock(descriptor_, F_UNLCK); }

}  // namespace node_compute
