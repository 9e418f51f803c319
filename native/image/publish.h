// The last steps of a base file's making, and the hold that an instance keeps on it.
#pragma once

#include <cstdint>
#include <string>

namespace node_compute {

/// Proves that a finished file has the length it should have, gives it its mode and fsyncs it. ImageError
/// `truncated` where the length differs; SystemError, also for a symbolic link.
void seal_file(const std::string& path, std::uint64_t bytes, unsigned mode);

/// A second name (hard link) for an existing file; false where `target` is a name of the same file already.
/// SystemError EEXIST where it is another file's. Symbolic links are not followed.
bool link_file(const std::string& source, const std::string& target);

}  // namespace node_compute
