// Walks all that a qcow2 image refers to, before any other program may: every range inside the file, nothing
// over the image's own tables, in memory and time bounded by the file.
#pragma once

#include <cstdint>

#include "executor/cancellation.h"
#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

struct Qcow2Facts {
  Qcow2Header header;
  /// Guest bytes that the active layer holds clusters for: no conversion writes more data than this.
  std::uint64_t data_bytes = 0;
};

/// Throws ImageError with the rule that the image breaks, Cancelled, SystemError. Reads metadata only.
Qcow2Facts validate_qcow2(const SourceFile& file, const Qcow2Rules& rules, const Cancellation& cancel);

}  // namespace node_compute
