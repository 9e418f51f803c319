// Removes what an instance left, and nothing that a link or a mount in it leads to.
#pragma once

#include <string>

#include "executor/cancellation.h"

namespace node_compute {

/// Removes a file, a symbolic link itself, or a directory with all in it; success where there is nothing.
/// `path` is absolute and ends in a name. Throws InvalidArgument, SystemError (EXDEV where another file
/// system is mounted in the tree, ELOOP below 64 levels) or Cancelled; part of the tree may be gone then, and
/// the call can be repeated.
void remove_tree(const std::string& path, const Cancellation& cancellation);

}  // namespace node_compute
