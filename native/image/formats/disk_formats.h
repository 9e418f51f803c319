// The image formats beside qcow2 and raw: each is read just so far that nothing of it can lead out of its
// file. QEMU converts them later, so what QEMU reads in a field is what counts.
#pragma once

#include <cstdint>

#include "executor/cancellation.h"
#include "image/source_file.h"

namespace node_compute {

struct DiskFacts {
  std::uint64_t virtual_size = 0;
  /// No conversion of the image to raw writes more data than this.
  std::uint64_t data_bytes = 0;
};

/// All of them throw ImageError with the rule that the image breaks, Cancelled, SystemError; they read
/// metadata only, 64 KiB at a time, and in time bounded by the file.
using DiskInspector = DiskFacts(const SourceFile& file, std::uint64_t max_virtual_bytes,
                                const Cancellation& cancel);

DiskInspector inspect_luks;
DiskInspector inspect_parallels;
DiskInspector inspect_qcow1;
DiskInspector inspect_qed;
DiskInspector inspect_vdi;
DiskInspector inspect_vhd;
DiskInspector inspect_vhdx;
DiskInspector inspect_vmdk;

}  // namespace node_compute
