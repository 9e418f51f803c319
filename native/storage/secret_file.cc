#include "storage/secret_file.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "executor/failure.h"

namespace node_compute {

FileDescriptor make_secret_file(const void* secret, std::size_t bytes) {
  FileDescriptor file(::memfd_create("secret", MFD_CLOEXEC));
  if (!file) throw SystemError(errno, "memfd_create", "a secret");
  const ssize_t written = ::write(file.get(), secret, bytes);
  if (written < 0) throw SystemError(errno, "write", "a secret");
  if (static_cast<std::size_t>(written) != bytes) throw SystemError(ENOSPC, "write", "a secret");
  return file;
}

}  // namespace node_compute
