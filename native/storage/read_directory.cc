#include "storage/read_directory.h"

#include <cerrno>

#include "executor/failure.h"

namespace node_compute {

namespace {

std::string content_of(const std::string& path, std::size_t most) {
  try {
    return read_file(path, most);
  } catch (const SystemError& error) {
    // Replaced or removed since it was listed.
    if (error.number == ENOENT || error.number == ELOOP || error.number == EINVAL) return "";
    throw;
  }
}

}  // namespace

std::vector<DirectoryEntry> read_directory(const std::string& path, std::size_t most,
                                           const Cancellation& cancel) {
  std::vector<DirectoryEntry> entries;
  for (std::string& name : list_directory(path)) {
    if (cancel.cancelled()) throw Cancelled();
    const std::string full = path + "/" + name;
    const std::optional<FileStatus> status = stat_file(full);
    if (!status) continue;
    const bool wanted =
        status->type == FileType::file && status->size_bytes > 0 && status->size_bytes <= most;
    entries.push_back({std::move(name), *status, wanted ? content_of(full, most) : ""});
  }
  return entries;
}

}  // namespace node_compute
