// Keeps QEMU and its tools from an image while it is edited, and finds out that they have it open.
#pragma once

#include <string>

#include "storage/file_descriptor.h"

namespace node_compute {

/// An image that is there, a regular file, for reading and writing. SystemError, ImageError
/// `not-regular-file`.
FileDescriptor open_for_edit(const std::string& path);

/// The bytes that QEMU locks in each image it opens (raw_apply_lock_bytes in its block/file-posix.c): 100 + n
/// for each permission that it uses, 200 + n for each that it lets nobody else use. All of them exclusively
/// means that we use and share none. The locks belong to the open file, so two edits in one process exclude
/// each other as well, and the kernel frees them when the process dies.
class ImageLock {
 public:
  /// Of a file open for reading and writing, which must stay open longer; `name` is for messages. Does not
  /// wait: ImageError `in-use` where somebody has the image open. SystemError.
  ImageLock(int descriptor, const std::string& name);
  ImageLock(const ImageLock&) = delete;
  ImageLock& operator=(const ImageLock&) = delete;
  /// Not by close alone: a child forked meanwhile holds the same open file until it executes.
  ~ImageLock();

 private:
  int descriptor_;
};

}  // namespace node_compute
