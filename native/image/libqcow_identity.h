// A second opinion: what libqcow reads from an image that our own validator has bounded. It never reads guest
// bytes.
#pragma once

#include <cstdint>
#include <optional>

#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

struct LibqcowIdentity {
  std::uint32_t version = 0;
  std::uint64_t virtual_size = 0;
  int snapshots = 0;
};

const char* libqcow_version() noexcept;

/// Nothing where libqcow cannot read the image at all: it knows neither zstd nor extended L2 entries, and
/// gives up on some good version 3 headers; nor for an L1 table of more than 16 MiB, of which it would make
/// two copies in memory. ImageError `parsers-disagree` where it reads something else than
/// we did.
std::optional<LibqcowIdentity> identify_with_libqcow(const SourceFile& file, const Qcow2Header& header);

}  // namespace node_compute
