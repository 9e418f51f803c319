// A qcow2 image to a sparse raw file: in parallel, in bounded memory, without a process.
#pragma once

#include <cstdint>
#include <string>

#include "executor/cancellation.h"
#include "image/source_file.h"

namespace node_compute {

struct ConvertOptions {
  std::uint64_t max_virtual_bytes = 0;
  /// 0 takes the number of CPUs, at most 4: more wait for memory, not for each other.
  unsigned threads = 0;
  /// fsync at the end.
  bool sync = true;
};

struct ConvertResult {
  /// Length of the raw file: the disk in whole sectors of 512 bytes, as QEMU counts it.
  std::uint64_t bytes = 0;
  /// What was written; the rest are holes.
  std::uint64_t written_bytes = 0;
};

/// Inspects `source`, then makes `target` (must not exist, mode 0600) of what its guest sees. Blocks of 4 KiB
/// that are zero become holes. Each thread holds half a MiB, or 4 clusters where they are more. ImageError
/// with the rule that the image breaks, SystemError, Cancelled; `target` is then removed. `cancel` also
/// counts the guest bytes that are done.
ConvertResult convert_to_raw(const std::string& source, const std::string& target,
                             const ConvertOptions& options, Cancellation& cancel);

/// The same between open files: `target` is an empty one, `name` is for messages.
ConvertResult convert_file(const SourceFile& source, int target, const std::string& name,
                           const ConvertOptions& options, Cancellation& cancel);

}  // namespace node_compute
