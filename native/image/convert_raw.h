// A disk to a sparse raw file: in parallel, in bounded memory, without a process.
#pragma once

#include <cstdint>
#include <string>

#include "executor/cancellation.h"
#include "image/cluster_set.h"
#include "image/disk.h"

namespace node_compute {

struct RawOptions {
  /// 0 chooses.
  unsigned threads = 0;
  /// The file will be synced: what is written starts for the disk at once, so that little is left then.
  bool writeback = false;
  /// What stands in the target already.
  const ClusterSet* done = nullptr;
};

/// Writes what the guest sees into `target`, an open file that is zero but for what is done; `name` is for
/// messages. See RawWriter for holes, reflinks and the memory of a thread. ImageError `compressed-cluster`,
/// SystemError, Cancelled; `cancel` also counts the guest bytes that are done. Gives the bytes that this call
/// wrote. Not synced.
std::uint64_t convert_to_raw(const Disk& disk, int target, const std::string& name, const RawOptions& options,
                             Cancellation& cancel);

}  // namespace node_compute
