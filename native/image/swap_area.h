// Writes an empty swap area, as mkswap does, without a process.
#pragma once

#include <cstdint>
#include <string>

namespace node_compute {

/// Makes `path` (must not exist, mode 0600): a sparse file whose first page is the header of a swap area of
/// version 1 (`union swap_header` of Linux, include/linux/swap.h) with a random UUID and no label. Pages are
/// the host's, as mkswap takes them, and whole ones count. Not synced. InvalidArgument for fewer than 10
/// pages, which no kernel takes, and for more than 2^32; SystemError. The file is then removed.
void create_swap_area(const std::string& path, std::uint64_t bytes);

}  // namespace node_compute
