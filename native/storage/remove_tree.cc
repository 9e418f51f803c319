#include "storage/remove_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "executor/failure.h"
#include "storage/file_descriptor.h"

namespace node_compute {

namespace {

/// Each level holds a descriptor; nothing of ours is deeper than three.
constexpr int kMostLevels = 64;
/// A directory that something still writes to while it is emptied.
constexpr int kMostRounds = 8;

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { closedir(directory); }
};

class Removal {
 public:
  explicit Removal(const Cancellation& cancellation) : cancellation_(cancellation) {}

  // `parent` and `name` do the work, so that a directory swapped for a link meanwhile leads nowhere; `path`
  // is for people.
  void remove(int parent, const std::string& name, const std::string& path, int level) {
    if (cancellation_.cancelled()) throw Cancelled();
    if (unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) return;
    // Linux says EISDIR of a directory; POSIX, and file systems that follow it, EPERM.
    if (errno != EISDIR && errno != EPERM) fail("cannot remove", path);
    const int refusal = errno;
    for (int round = 0; round < kMostRounds; ++round) {
      if (!empty(parent, name, path, level, refusal)) return;
      if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return;
      if (errno != ENOTEMPTY && errno != EEXIST) fail("cannot remove", path);
    }
    fail("cannot remove", path, ENOTEMPTY);
  }

 private:
  [[noreturn]] static void fail(const char* doing, const std::string& path, int number = errno) {
    throw SystemError(number, doing, path);
  }

  /// Removes all in the directory; false where it is gone.
  bool empty(int parent, const std::string& name, const std::string& path, int level, int refusal) {
    if (level >= kMostLevels) fail("too deep to remove:", path, ELOOP);
    FileDescriptor file(
        openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) {
      if (errno == ENOENT) return false;
      // No directory after all: what unlinkat said stands.
      fail("cannot remove", path, errno == ENOTDIR || errno == ELOOP ? refusal : errno);
    }
    struct stat status {};
    if (fstat(file.get(), &status) != 0) fail("cannot stat", path);
    // A mounted file system holds another's data.
    if (!device_) device_ = status.st_dev;
    if (status.st_dev != *device_) fail("another file system is mounted on", path, EXDEV);
    const int number = file.get();
    const std::unique_ptr<DIR, CloseDirectory> directory(fdopendir(number));
    if (!directory) fail("cannot list", path);
    file.release();
    for (const std::string& entry : names(directory.get(), path)) {
      remove(number, entry, std::string(path).append("/").append(entry), level + 1);
    }
    return true;
  }

  /// All at once: whether readdir shows entries that were removed meanwhile is left open by POSIX.
  static std::vector<std::string> names(DIR* directory, const std::string& path) {
    std::vector<std::string> found;
    for (;;) {
      errno = 0;
      const dirent* const entry = readdir(directory);
      if (entry == nullptr) break;
      const std::string_view name(entry->d_name);
      if (name != "." && name != "..") found.emplace_back(name);
    }
    if (errno != 0) fail("cannot list", path);
    return found;
  }

  const Cancellation& cancellation_;
  std::optional<dev_t> device_;
};

}  // namespace

void remove_tree(const std::string& path, const Cancellation& cancellation) {
  const auto slash = path.find_last_of('/');
  const std::string name = slash == std::string::npos ? "" : path.substr(slash + 1);
  if (!path.starts_with('/') || name.empty() || name == "." || name == "..") {
    throw InvalidArgument("not the absolute path of something to remove: " + path);
  }
  const std::string parent = path.substr(0, slash + 1);
  const FileDescriptor directory(open(parent.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory) {
    if (errno == ENOENT || errno == ENOTDIR) return;
    throw SystemError(errno, "cannot open", parent);
  }
  Removal(cancellation).remove(directory.get(), name, path, 0);
}

}  // namespace node_compute
