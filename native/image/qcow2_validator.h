// Walks all that a qcow2 image refers to, before any other program may: every range inside the file, nothing
// over the image's own tables, in memory and time bounded by the file.
#pragma once

#include <cstdint>

#include "executor/cancellation.h"
#include "image/cluster_map.h"
#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

struct Qcow2Facts {
  Qcow2Header header;
  /// Guest bytes that the active layer holds clusters for: no conversion writes more data than this.
  std::uint64_t data_bytes = 0;
};

/// Throws ImageError with the rule that the image breaks, Cancelled, SystemError. Reads metadata only: once,
/// and again for each further `window` of clusters that the file has, which is never another number but in
/// tests.
Qcow2Facts validate_qcow2(const SourceFile& file, const Qcow2Rules& rules, const Cancellation& cancel,
                          std::uint64_t window = ClusterMap::kWindow);

}  // namespace node_compute
