// Copies an image file into the cache: sparse, by reflink where the file system has it, hashed in the same
// pass.
#pragma once

#include <cstdint>
#include <string>

#include "executor/cancellation.h"

namespace node_compute {

struct CopyOptions {
  /// `md5`, `sha256`, `sha512` or "".
  std::string digest;
  std::uint64_t max_bytes = 0;
  /// fsync at the end. Not worth its time for a file that is converted and thrown away.
  bool sync = true;
  /// Copies only: the target's length where it is to be larger than the source, by a hole at the end.
  std::uint64_t grown_bytes = 0;
};

struct CopyResult {
  std::uint64_t bytes = 0;
  /// Hexadecimal; "" where none was asked for.
  std::string digest;
};

/// Makes `target` (must not exist, mode 0600) from a regular file. ImageError
/// `not-regular-file`, `too-large`, `truncated` (the source shrank), SystemError, InvalidArgument, Cancelled;
/// `target` is then removed.
CopyResult copy_file(const std::string& source, const std::string& target, const CopyOptions& options,
                     const Cancellation& cancel);

}  // namespace node_compute
