// What a disk is made of, for people and programs that plan: extents as large as they can be told.
#pragma once

#include <cstdint>

#include "executor/cancellation.h"
#include "image/disk.h"

namespace node_compute {

/// The extents from `offset` on, to the end of the disk or some thousand of them, whichever comes first: call
/// again with the end of the last one. Compressed clusters that follow each other are one extent, without
/// their places in the file. Empty at the end of the disk. Cancelled.
Extents map_disk(const Disk& disk, std::uint64_t offset, const Cancellation& cancel);

}  // namespace node_compute
