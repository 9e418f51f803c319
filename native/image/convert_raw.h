// A disk to a sparse raw file: in parallel, in bounded memory, without a process.
#pragma once

#include <cstdint>
#include <string>

#include "executor/cancellation.h"
#include "image/disk.h"

namespace node_compute {

/// Writes what the guest sees into `target`, an open and empty file; `name` is for messages. Blocks of 4 KiB
/// that are zero become holes. Where the file system can, plain clusters are shared with the image instead of
/// copied. Each thread holds about half a MiB, or 6 MiB with clusters of 2 MiB. `threads` 0 chooses.
/// ImageError `compressed-cluster`, SystemError, Cancelled; `cancel` also counts the guest bytes that are
/// done. Gives the bytes that are no holes. Not synced.
std::uint64_t convert_to_raw(const Disk& disk, int target, const std::string& name, unsigned threads,
                             Cancellation& cancel);

}  // namespace node_compute
