// Bounds a log that another process appends to, and goes on appending to: what is old moves to a file beside
// it.
#pragma once

#include <cstdint>
#include <string>

namespace node_compute {

/// Where `path` has more than `most` bytes, the last `most` of them become `<path>.0`, 0600, in place of an
/// older one, and `path` begins anew. False where it has not, or does not exist. The writer must have it open
/// with O_APPEND. No byte is lost on a file system that can collapse ranges (ext4, XFS); elsewhere what is
/// written in the instant between two system calls is. Throws SystemError; `path` is then as it was. Never
/// follows a symbolic link.
bool rotate_log(const std::string& path, std::uint64_t most);

}  // namespace node_compute
