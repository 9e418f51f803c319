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
  /// `raw`, `iso`, `qcow2`, `vmdk`, `vhd`, `vhdx`, `vdi`, `qed`, `qcow`, `ploop` or `luks`.
  std::string format;
  std::uint64_t virtual_size = 0;
  std::uint64_t file_size = 0;
  /// No conversion of the image to raw writes more data than this.
  std::uint64_t data_bytes = 0;
  std::optional<Qcow2Header> qcow2;
  std::optional<LibqcowIdentity> libqcow;
};

/// What becomes of images whose disk is encrypted.
enum class Encryption {
  /// Rule `encrypted`.
  refused,
  /// For a reader that was given the secret: LUKS in qcow2 and LUKS images are accepted, and nothing else
  /// (rules `encrypted` for another method, `not-encrypted`).
  luks,
};

/// Throws ImageError with the rule that the file breaks, SystemError, Cancelled. Bounded memory; time bounded
/// by the size of the file.
ImageVerdict inspect_image(const std::string& path, const std::string& declared_format,
                           std::uint64_t max_virtual_bytes, const Cancellation& cancel,
                           Encryption encryption = Encryption::refused);

/// The same for an open file.
ImageVerdict inspect_file(const SourceFile& file, const std::string& declared_format,
                          std::uint64_t max_virtual_bytes, const Cancellation& cancel,
                          Encryption encryption = Encryption::refused);

}  // namespace node_compute
