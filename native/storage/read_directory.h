// A directory and all that is known of what lies in it, in one go.
#pragma once

#include <string>
#include <vector>

#include "executor/cancellation.h"
#include "storage/files.h"

namespace node_compute {

struct DirectoryEntry {
  std::string name;
  FileStatus status;
  /// Of a regular file that has no more bytes than were asked for.
  std::string content;
};

/// The entries, sorted by name, each with its status as stat_file gives it; files of up to `most` bytes with
/// what they hold (0: none). What vanishes meanwhile is left out. No link is followed. Throws SystemError,
/// Cancelled.
std::vector<DirectoryEntry> read_directory(const std::string& path, std::size_t most,
                                           const Cancellation& cancel);

}  // namespace node_compute
