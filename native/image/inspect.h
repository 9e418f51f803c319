// Decides whether a file is acceptable as the image that it is declared to be.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "executor/cancellation.h"
#include "image/libqcow_identity.h"
#include "image/qcow2_header.h"

namespace node_compute {

struct ImageVerdict {
  /// `raw`, `iso`, `qcow2`, `vmdk`, `vhd`, `vhdx`, `vdi`, `qed`, `qcow` or `ploop`.
  std::string format;
  std::uint64_t virtual_size = 0;
  std::uint64_t file_size = 0;
  /// No conversion of the image to raw writes more data than this.
  std::uint64_t data_bytes = 0;
  std::optional<Qcow2Header> qcow2;
  std::optional<LibqcowIdentity> libqcow;
};

/// Throws ImageError with the rule that the file breaks, SystemError, Cancelled. Bounded memory; time bounded
/// by the size of the file.
ImageVerdict inspect_image(const std::string& path, const std::string& declared_format,
                           std::uint64_t max_virtual_bytes, const Cancellation& cancel);

/// The same for an open file.
ImageVerdict inspect_file(const SourceFile& file, const std::string& declared_format,
                          std::uint64_t max_virtual_bytes, const Cancellation& cancel);

}  // namespace node_compute
