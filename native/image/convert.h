// A disk, one image or a chain of them, to a file of its own: raw or qcow2.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "executor/cancellation.h"
#include "image/decompressor.h"
#include "image/disk.h"

namespace node_compute {

struct ConvertOptions {
  /// `raw` or `qcow2`.
  std::string format;
  std::uint64_t max_virtual_bytes = 0;
  /// qcow2 only; nothing stores clusters as they are.
  std::optional<Compression> compression;
  /// qcow2 only: a power of two from 4 KiB to 2 MiB.
  std::uint64_t cluster_size = 65536;
  /// 0 takes the number of CPUs, at most 4.
  unsigned threads = 0;
  /// fsync at the end.
  bool sync = true;
  /// Keeps QEMU from the top image meanwhile (ImageLock); ImageError `in-use` where it has it open.
  bool lock = false;
};

struct ConvertResult {
  /// Of the disk, in whole sectors of 512 bytes as QEMU counts: the length of a raw file.
  std::uint64_t virtual_bytes = 0;
  /// Raw: what was written, the rest are holes. qcow2: the length of the file.
  std::uint64_t written_bytes = 0;
};

/// Opens and validates the images of the disk, from the top down (Disk::open), and makes `target` (must not
/// exist, mode 0600) of what its guest sees. ImageError with the rule that an image breaks, InvalidArgument,
/// SystemError, Cancelled; `target` is then removed. `cancel` also counts the guest bytes that are done.
ConvertResult convert_image(const std::vector<LayerName>& layers, const std::string& target,
                            const ConvertOptions& options, Cancellation& cancel);

}  // namespace node_compute
