// Writes an empty qcow2 version 3 image, alone or as the overlay over a base that an instance's disk is,
// without a qemu-img process.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "image/decompressor.h"

namespace node_compute {

struct BackingFile {
  /// Absolute; the file is not opened.
  std::string path;
  /// `raw` or `qcow2`: written into the header, so that nothing ever probes the backing file.
  std::string format;
};

struct Qcow2CreateOptions {
  std::optional<BackingFile> backing;
  /// Rounded up to a multiple of 512, as qemu-img does.
  std::uint64_t virtual_size = 0;
  /// A power of two from 512 to 2 MiB.
  std::uint64_t cluster_size = 65536;
  /// Of clusters that somebody will write compressed.
  Compression compression = Compression::deflate;
};

/// Makes `path` (must not exist, mode 0600): means what `qemu-img create -f qcow2` writes. Not synced: QEMU's
/// first flush of the disk does that. Throws InvalidArgument for sizes that QEMU would not open either,
/// SystemError; the file is then removed.
void create_qcow2(const std::string& path, const Qcow2CreateOptions& options);

}  // namespace node_compute
