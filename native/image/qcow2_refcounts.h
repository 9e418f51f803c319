// How often each cluster of a qcow2 image is used, as the image itself counts it.
#pragma once

#include <cstdint>
#include <vector>

#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

/// The counts of a refcount block, each of 2^`order` bits.
std::uint64_t load_refcount(const std::uint8_t* block, std::uint64_t index, unsigned order) noexcept;
void store_refcount(std::uint8_t* block, std::uint64_t index, unsigned order, std::uint64_t count) noexcept;

/// Clusters that one block counts.
std::uint64_t refcounts_per_block(const Qcow2Header& header) noexcept;

/// Offset of each block, 0 where there is none and every count in it is 0. Of a validated image.
std::vector<std::uint64_t> read_refcount_table(const SourceFile& file, const Qcow2Header& header);

}  // namespace node_compute
