// Whether a qcow2 image counts the uses of its clusters as its tables use them.
#pragma once

#include "executor/cancellation.h"
#include "image/cluster_map.h"
#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

/// Every cluster in the window of `map` must be counted at least as often as it is used there, and once where
/// the image says that it does not share it. A count that is too high is a leak: QEMU leaves some when it is
/// killed, and they harm nobody. ImageError `refcount`, `shared-cluster`, `copied-flag`. Refcount blocks,
/// whose place was checked, are read once, in the order of the clusters.
void check_refcounts(const SourceFile& file, const Qcow2Header& header, const ClusterMap& map,
                     const Cancellation& cancel);

}  // namespace node_compute
