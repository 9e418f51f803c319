// A secret as a file that has no name, for a child process that reads secrets from files.
#pragma once

#include <cstddef>

#include "storage/file_descriptor.h"

namespace node_compute {

/// In memory (memfd_create(2)): gone when the last descriptor is closed, and passed to no child that is not
/// given it. Throws SystemError.
FileDescriptor make_secret_file(const void* secret, std::size_t bytes);

}  // namespace node_compute
