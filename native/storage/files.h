// Small file operations as the instance store and the image cache need them: whole, durable, blind to planted
// links.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace node_compute {

// All of these block; all throw SystemError and leave nothing behind where they fail. The last component of a
// path is never followed where it is a symbolic link. The process's umask plays no part: `mode` is what the
// file gets.

/// Makes the directory, and missing ones above it with 0755. False where it stood; one that stood keeps its
/// mode. Throws ENOTDIR where something else, a link to a directory included, has the name.
bool make_directory(const std::string& path, mode_t mode);

enum class WriteHow {
  create,   ///< fails with EEXIST
  replace,  ///< readers see the old content or the new; goes through a temporary name beside it
  append,   ///< to a regular file, made where missing; a failed write is cut off again
};

/// With `sync` the data, and for a new name the directory, are on the disk when this returns.
void write_file(const std::string& path, std::string_view data, WriteHow how, mode_t mode, bool sync);

/// The last `most` bytes of a regular file. Works for those of /proc, whose size is 0.
std::string read_file(const std::string& path, std::size_t most);

/// Names in the directory, sorted.
std::vector<std::string> list_directory(const std::string& path);

/// Renames; with `sync` the new name is on the disk when this returns.
void publish_file(const std::string& source, const std::string& target, bool sync);

enum class FileType { file, directory, other };

struct FileStatus {
  FileType type;
  std::uint64_t size_bytes;
  std::uint64_t allocated_bytes;
  std::uint64_t inode;
  double mtime_ms;
  std::uint32_t mode;
  std::uint32_t uid;
  std::uint64_t links;
};

/// Nothing where there is nothing.
std::optional<FileStatus> stat_file(const std::string& path);

struct FileSystemStatus {
  std::uint64_t total_bytes;
  std::uint64_t free_bytes;
  /// Free to those without privilege.
  std::uint64_t available_bytes;
};

FileSystemStatus stat_file_system(const std::string& path);

/// Changes the owner of the name itself.
void set_owner(const std::string& path, uid_t uid, gid_t gid);

}  // namespace node_compute
