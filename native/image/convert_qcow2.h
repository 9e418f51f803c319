// A disk to a standalone qcow2 image, compressed or not: in parallel, in bounded memory, without a process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "executor/cancellation.h"
#include "image/decompressor.h"
#include "image/disk.h"

namespace node_compute {

/// Writes the whole chain into `target`, an open and empty file; `name` is for messages. Without
/// `compression` clusters are stored as they are, as is one that does not get smaller; those that are zero
/// are left out. `cluster_size` is a power of two from 4 KiB to 2 MiB. Each thread holds some 3 MiB, or 14
/// with clusters of 2 MiB. InvalidArgument, and all else as convert_to_raw(). Gives the length of the image.
/// Not synced.
std::uint64_t convert_to_qcow2(const Disk& disk, int target, const std::string& name,
                               std::optional<Compression> compression, std::uint64_t cluster_size,
                               unsigned threads, Cancellation& cancel);

}  // namespace node_compute
