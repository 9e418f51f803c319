#include "image/publish.h"

#include <fcntl.h>

#include <cerrno>

#include "executor/failure.h"
#include "image/image_error.h"
#include "image/image_io.h"

namespace node_compute {

void seal_file(const std::string& path, std::uint64_t bytes, unsigned mode) {
  const FileDescriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) throw SystemError(errno, "open", path);
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) throw SystemError(errno, "stat", path);
  if (!S_ISREG(status.st_mode)) throw ImageError("not-regular-file", path + " is not a regular file");
  if (static_cast<std::uint64_t>(status.st_size) != bytes) {
    throw ImageError("truncated", path + " has " + std::to_string(status.st_size) + " bytes instead of " +
                                      std::to_string(bytes));
  }
  if (::fchmod(file.get(), mode) != 0) throw SystemError(errno, "chmod", path);
  sync(file.get(), path);
}

bool link_file(const std::string& source, const std::string& target) {
  if (::linkat(AT_FDCWD, source.c_str(), AT_FDCWD, target.c_str(), 0) == 0) return true;
  const int number = errno;
  struct stat there {};
  struct stat wanted {};
  if (number == EEXIST && ::lstat(target.c_str(), &there) == 0 && ::lstat(source.c_str(), &wanted) == 0 &&
      there.st_dev == wanted.st_dev && there.st_ino == wanted.st_ino) {
    return false;
  }
  throw SystemError(number, "link", target);
}

}  // namespace node_compute
