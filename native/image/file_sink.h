// Where a download goes: a new file that grows chunk by chunk, hashed and capped on the way.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>

#include "image/copy.h"
#include "image/digest.h"
#include "image/image_io.h"

namespace node_compute {

struct SinkOptions {
  /// With `sync` the disk begins to write at once, so that little is left at the end.
  CopyOptions copy;
  /// Where it is known: the file has this length from its first byte on. 0 where it is not.
  std::uint64_t expected_bytes = 0;
};

/// Calls may come from any thread, one after another in the order of the bytes. Once a write has failed the
/// sink is closed: the next call throws Closed.
class FileSink {
 public:
  /// The file must not exist; mode 0600.
  FileSink(const std::string& path, const SinkOptions& options);
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  /// Runs of zeros become holes. ImageError `too-large` before the first byte beyond the cap is written.
  void write(const std::uint8_t* data, std::size_t bytes);
  /// Sets the length, fsyncs where that was asked for, closes.
  CopyResult finish();
  /// Closes; the file stays, as unfinished as it is. Idempotent.
  void abandon() noexcept;

 private:
  std::mutex mutex_;  // guards all below
  const std::string path_;
  const std::uint64_t max_bytes_;
  const bool sync_;
  Digest digest_;
  FileDescriptor descriptor_;
  std::uint64_t bytes_ = 0;
  std::uint64_t written_back_ = 0;
};

}  // namespace node_compute
