// Writes an instance's disk: an empty qcow2 version 3 overlay over a base, without a qemu-img process.
#pragma once

#include <cstdint>
#include <string>

namespace node_compute {

struct OverlayOptions {
  /// Absolute path of the backing file; it is not opened.
  std::string backing_file;
  /// `raw` or `qcow2`: written into the header, so that nothing ever probes the backing file.
  std::string backing_format;
  /// Rounded up to a multiple of 512, as qemu-img does.
  std::uint64_t virtual_size = 0;
  /// A power of two from 512 to 2 MiB.
  std::uint64_t cluster_size = 65536;
};

/// Makes `path` (must not exist, mode 0600): means what `qemu-img create -f qcow2 -b ... -F ...` writes. Not
/// synced: QEMU's first flush of the disk does that. Throws InvalidArgument for sizes that QEMU would not
/// open either, SystemError; the file is then removed.
void create_overlay(const std::string& path, const OverlayOptions& options);

}  // namespace node_compute
