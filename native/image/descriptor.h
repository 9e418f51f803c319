// A file descriptor with one owner, and the few ways the image code opens files.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

namespace node_compute {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.number_, -1));
    return *this;
  }
  ~Descriptor() { reset(); }

  int get() const noexcept { return number_; }
  explicit operator bool() const noexcept { return number_ >= 0; }
  void reset(int number = -1) noexcept {
    if (number_ >= 0) ::close(number_);
    number_ = number;
  }

 private:
  int number_ = -1;
};

/// Opens an existing regular file for reading. An operator may have put a symbolic link to it, so links are
/// followed; a device, a FIFO or a directory behind the name is refused with ImageError `not-regular-file`,
/// without ever blocking on it.
Descriptor open_source(const std::string& path, struct stat& status);

/// Makes a file that must not exist yet, mode 0600 whatever the umask; a symbolic link in its place is an
/// error.
Descriptor create_target(const std::string& path);

/// Reads until the buffer is full or the file ends; gives the bytes read.
std::size_t read_at(int descriptor, void* buffer, std::size_t bytes, std::uint64_t offset,
                    const std::string& path);

void write_at(int descriptor, const void* data, std::size_t bytes, std::uint64_t offset,
              const std::string& path);

/// Writes what is not zero of `data`, in whole blocks of 4 KiB, and leaves holes for the rest: the caller
/// sets the length of the file at the end.
void write_sparse(int descriptor, const std::uint8_t* data, std::size_t bytes, std::uint64_t offset,
                  const std::string& path);

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
  Descriptor descriptor_;
  bool kept_ = false;
};

}  // namespace node_compute
