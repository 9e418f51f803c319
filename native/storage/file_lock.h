// Locks between processes (and threads), each on a file that stays.
#pragma once

#include <optional>
#include <string>

#include "storage/file_descriptor.h"

namespace node_compute {

/// flock(2), taken through an open file of its own: two locks of one process exclude each other as well, the
/// kernel frees it when the process dies, and `flock FILE command` of a shell takes part. The file is never
/// unlinked by us: of those who wait for an unlinked file each would get a lock of his own.
class FileLock {
 public:
  /// Makes the file (0600) where it is missing; nothing where the lock is taken. Does not wait. A symbolic
  /// link is not followed. Throws SystemError.
  static std::optional<FileLock> try_lock(const std::string& path, bool shared);

  FileLock(FileLock&&) noexcept = default;
  FileLock& operator=(FileLock&& other) noexcept;
  ~FileLock();

  /// Idempotent.
  void release() noexcept;

 private:
  explicit FileLock(FileDescriptor file) noexcept : file_(std::move(file)) {}

  FileDescriptor file_;
};

}  // namespace node_compute
