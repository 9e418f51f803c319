// The digest of a file that may be large and sparse, taken in pieces between which others have their turn.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "executor/cancellation.h"
#include "image/digest.h"
#include "storage/file_descriptor.h"

namespace node_compute {

struct FileDigestOptions {
  /// `md5`, `sha256`, `sha512` of all bytes, or `sparse-sha256`: SHA-256 of the file's length, then of the
  /// offset (both 8 bytes, little-endian) and the bytes of each block of 64 KiB that is not all zero. It
  /// tells the same contents apart as the others do, and costs nothing for holes, however they are stored.
  std::string algorithm;
  /// Past the page cache where the file system can: what is on the disk counts, and what guests read stays
  /// cached.
  bool direct = false;
};

/// Holes are not read. Calls from several threads take turns.
class FileDigest {
 public:
  /// Throws InvalidArgument, SystemError, ImageError `not-regular-file`.
  FileDigest(const std::string& path, const FileDigestOptions& options);

  std::uint64_t size() const noexcept { return size_; }
  std::uint64_t inode() const noexcept { return inode_; }

  struct Piece {
    /// Bytes that were read, and a sixteenth of the zeros that were hashed without a read.
    std::uint64_t work_bytes;
    /// From the start of the file.
    std::uint64_t done_bytes;
    /// Lower-case hexadecimal, once the end is reached; further calls then give it again.
    std::optional<std::string> value;
  };

  /// Goes on for about `most` bytes of work. Throws SystemError, Cancelled, and ImageError `truncated` where
  /// the file has become shorter.
  Piece advance(std::uint64_t most, const Cancellation& cancel);

 private:
  struct Free {
    void operator()(void* memory) const noexcept { ::free(memory); }  // NOLINT(cppcoreguidelines-no-malloc)
  };

  std::uint64_t next_data(std::uint64_t offset) const;
  std::uint64_t data_end(std::uint64_t offset) const;
  void read(std::uint64_t bytes);
  void take(std::uint64_t bytes);

  const std::string path_;
  const bool sparse_;
  FileDescriptor file_;
  std::uint64_t size_ = 0;
  std::uint64_t inode_ = 0;
  std::mutex mutex_;  // guards all below, and the flags of file_
  Digest digest_;
  bool direct_ = false;
  std::uint64_t position_ = 0;
  std::optional<std::string> value_;
  std::unique_ptr<std::uint8_t, Free> buffer_;
};

/// The digest of a regular file, read whole. InvalidArgument, ImageError `not-regular-file`, SystemError,
/// Cancelled.
std::string digest_file(const std::string& path, const std::string& algorithm, const Cancellation& cancel);

}  // namespace node_compute
