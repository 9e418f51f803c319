// The text in a VMDK that says which files make up the disk: here it may name none but its own.
#pragma once

#include <cstdint>
#include <string_view>

namespace node_compute {

/// `area` is all that a reader may take for the descriptor, zeros behind it included. ImageError `data-file`,
/// `backing-file`, `descriptor`.
void check_vmdk_descriptor(std::string_view area, std::uint64_t capacity_sectors);

}  // namespace node_compute
