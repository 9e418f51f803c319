// The header of LUKS, version 1, which stands at the beginning of a LUKS image and in a part of its own in a
// qcow2 image that is encrypted by it. On-disk format specification 1.2.3.
#pragma once

#include <cstdint>

#include "image/source_file.h"

namespace node_compute {

/// Holds the header at `offset`, for which the image has `bytes`, against what QEMU reads
/// (qcrypto_block_luks_check_header of its crypto/block-luks.c): all key material inside of it, and at least
/// one key slot in use. Gives the offset of the encrypted data in bytes. Ciphers and keys are not looked at.
/// ImageError `version`, `header`, `outside-file`, `truncated`.
std::uint64_t check_luks_header(const SourceFile& file, std::uint64_t offset, std::uint64_t bytes);

}  // namespace node_compute
