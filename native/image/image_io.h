// The few ways in which the image code opens, reads and writes files.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "storage/file_descriptor.h"

namespace node_compute {

/// Opens an existing regular file for reading. An operator may have put a symbolic link to it, so links are
/// followed; a device, a FIFO or a directory behind the name is refused with ImageError `not-regular-file`,
/// without ever blocking on it.
FileDescriptor open_source(const std::string& path, struct stat& status);

/// Makes a file that must not exist yet, mode 0600 whatever the umask; a symbolic link in its place is an
/// error.
FileDescriptor create_target(const std::string& path);

/// Reads until the buffer is full or the file ends; gives the bytes read.
std::size_t read_at(int descriptor, void* buffer, std::size_t bytes, std::uint64_t offset,
                    const std::string& path);

void write_at(int descriptor, const void* data, std::size_t bytes, std::uint64_t offset,
              const std::string& path);

bool is_zero(const std::uint8_t* data, std::size_t bytes) noexcept;

/// Writes what is not zero of `data`, in whole blocks of 4 KiB, and leaves holes for the rest: the caller
/// sets the length of the file at the end. Gives the bytes written.
std::uint64_t write_sparse(int descriptor, const std::uint8_t* data, std::size_t bytes, std::uint64_t offset,
                           const std::string& path);

/// Starts to write to the disk what of the range is not there yet, and does not wait; `bytes` 0: to the end.
/// A hint: what fails shows at the next sync().
void start_writeback(int descriptor, std::uint64_t offset, std::uint64_t bytes) noexcept;

void truncate_to(int descriptor, std::uint64_t bytes, const std::string& path);
void sync(int descriptor, const std::string& path);

/// Removes the file it was given unless keep() was called: what a failed call made does not stay.
class NewFile {
 public:
  explicit NewFile(std::string path) : path_(std::move(path)), descriptor_(create_target(path_)) {}
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (!kept_) ::unlink(path_.c_str());
  }
  int get() const noexcept { return descriptor_.get(); }
  const std::string& path() const noexcept { return path_; }
  void keep() noexcept { kept_ = true; }

 private:
  std::string path_;
  FileDescriptor descriptor_;
  bool kept_ = false;
};

}  // namespace node_compute
