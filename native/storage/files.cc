#include "storage/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "executor/failure.h"
#include "storage/file_descriptor.h"

namespace node_compute {

namespace {

/// The flags that every open of ours has. O_NONBLOCK: a planted FIFO must not hang a thread.
constexpr int kOpen = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { closedir(directory); }
};

[[noreturn]] void fail(const char* doing, const std::string& path, int number = errno) {
  throw SystemError(number, doing, path);
}

std::string parent_of(const std::string& path) {
  const auto end = path.find_last_not_of('/');
  const auto slash = end == std::string::npos ? std::string::npos : path.find_last_of('/', end);
  if (slash == std::string::npos) return path.starts_with('/') ? "/" : ".";
  const auto last = path.find_last_not_of('/', slash);
  return last == std::string::npos ? "/" : path.substr(0, last + 1);
}

FileDescriptor open_file(const std::string& path, int flags, mode_t mode = 0) {
  for (;;) {
    FileDescriptor file(::open(path.c_str(), flags | kOpen, mode));
    if (file) return file;
    if (errno != EINTR) fail("cannot open", path);
  }
}

FileDescriptor open_regular(const std::string& path, int flags, mode_t mode = 0) {
  FileDescriptor file = open_file(path, flags, mode);
  struct stat status {};
  if (fstat(file.get(), &status) != 0) fail("cannot stat", path);
  if (!S_ISREG(status.st_mode)) fail("not a regular file:", path, EINVAL);
  return file;
}

void write_all(const FileDescriptor& file, std::string_view data, const std::string& path) {
  while (!data.empty()) {
    const ssize_t written = ::write(file.get(), data.data(), data.size());
    if (written > 0) {
      data.remove_prefix(static_cast<std::size_t>(written));
    } else if (written == 0) {
      fail("cannot write", path, EIO);
    } else if (errno != EINTR) {
      fail("cannot write", path);
    }
  }
}

// Never repeated: after a failed fsync the kernel has dropped the pages, and a second one would report
// success.
void sync_file(const FileDescriptor& file, const std::string& path) {
  if (fsync(file.get()) != 0) fail("cannot sync", path);
}

void sync_directory(const std::string& path) {
  FileDescriptor directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) fail("cannot open", path);
  sync_file(directory, path);
}

/// Removes the file again unless the work on it came to its end.
class NewFile {
 public:
  NewFile(std::string path, mode_t mode)
      : path_(std::move(path)), file_(open_file(path_, O_WRONLY | O_CREAT | O_EXCL, mode)) {}
  ~NewFile() {
    if (!kept_) ::unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void fill(std::string_view data, mode_t mode, bool sync) {
    if (fchmod(file_.get(), mode) != 0) fail("cannot set the mode of", path_);
    write_all(file_, data, path_);
    if (sync) sync_file(file_, path_);
  }
  void keep() noexcept { kept_ = true; }

 private:
  std::string path_;
  FileDescriptor file_;
  bool kept_ = false;
};

std::string temporary_name(const std::string& path) {
  std::array<unsigned char, 8> random{};
  if (getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
    fail("cannot get random bytes for", path);
  }
  std::string name = path + ".";
  for (const unsigned char byte : random) {
    constexpr std::string_view digits = "0123456789abcdef";
    name += digits[byte >> 4];
    name += digits[byte & 15];
  }
  return name + ".tmp";
}

void append(const std::string& path, std::string_view data, mode_t mode, bool sync) {
  bool made = true;
  FileDescriptor file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_EXCL | kOpen, mode));
  if (file) {
    if (fchmod(file.get(), mode) != 0) fail("cannot set the mode of", path);
  } else {
    made = false;
    file = open_regular(path, O_WRONLY | O_APPEND | O_CREAT, mode);
  }
  const off_t end = lseek(file.get(), 0, SEEK_END);
  if (end < 0) fail("cannot seek in", path);
  try {
    write_all(file, data, path);
  } catch (const SystemError&) {
    // A reader of the journal must not meet half a line that the next append makes a wrong one.
    if (ftruncate(file.get(), end) != 0) fail("cannot cut off the failed write to", path);
    throw;
  }
  if (!sync) return;
  sync_file(file, path);
  if (made) sync_directory(parent_of(path));
}

/// Reads from the descriptor's position to the end of the file and keeps the last `most` bytes.
std::string read_tail(const FileDescriptor& file, std::size_t most, const std::string& path) {
  constexpr std::size_t chunk = 65536;
  std::string data;
  for (;;) {
    const std::size_t held = data.size();
    data.resize(held + chunk);
    const ssize_t count = ::read(file.get(), data.data() + held, chunk);
    data.resize(held + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    if (count == 0) break;
    if (count < 0 && errno != EINTR) fail("cannot read", path);
    if (data.size() > most + 16 * chunk) data.erase(0, data.size() - most);
  }
  if (data.size() > most) data.erase(0, data.size() - most);
  return data;
}

}  // namespace

bool make_directory(const std::string& path, mode_t mode) {
  if (::mkdir(path.c_str(), 0700) == 0) {
    // Through a descriptor that follows no link: the umask may have taken bits away.
    const FileDescriptor made(::open(path.c_str(), O_RDONLY | O_DIRECTORY | kOpen));
    if (made && fchmod(made.get(), mode) == 0) return true;
    const int number = errno;
    ::rmdir(path.c_str());
    fail("cannot set the mode of", path, number);
  }
  if (errno == EEXIST) {
    struct stat status {};
    if (lstat(path.c_str(), &status) != 0) fail("cannot stat", path);
    if (!S_ISDIR(status.st_mode)) fail("cannot make the directory", path, ENOTDIR);
    return false;
  }
  const std::string parent = parent_of(path);
  if (errno != ENOENT || parent == path) fail("cannot make the directory", path);
  // Above the last component links are the operator's own affair.
  struct stat status {};
  if (::stat(parent.c_str(), &status) == 0) fail("cannot make the directory", path, ENOENT);
  make_directory(parent, 0755);
  return make_directory(path, mode);
}

void write_file(const std::string& path, std::string_view data, WriteHow how, mode_t mode, bool sync) {
  if (how == WriteHow::append) {
    append(path, data, mode, sync);
    return;
  }
  if (how == WriteHow::create) {
    NewFile file(path, mode);
    file.fill(data, mode, sync);
    if (sync) sync_directory(parent_of(path));
    file.keep();
    return;
  }
  const std::string temporary = temporary_name(path);
  NewFile file(temporary, mode);
  file.fill(data, mode, sync);
  if (::rename(temporary.c_str(), path.c_str()) != 0) fail("cannot replace", path);
  file.keep();
  if (sync) sync_directory(parent_of(path));
}

std::string read_file(const std::string& path, std::size_t most) {
  const FileDescriptor file = open_regular(path, O_RDONLY);
  struct stat status {};
  if (fstat(file.get(), &status) != 0) fail("cannot stat", path);
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > most && lseek(file.get(), static_cast<off_t>(size - most), SEEK_SET) < 0) {
    fail("cannot seek in", path);
  }
  return read_tail(file, most, path);
}

std::vector<std::string> list_directory(const std::string& path) {
  FileDescriptor file = open_file(path, O_RDONLY | O_DIRECTORY);
  const std::unique_ptr<DIR, CloseDirectory> directory(fdopendir(file.get()));
  if (!directory) fail("cannot list", path);
  file.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* const entry = readdir(directory.get());
    if (entry == nullptr) break;
    const std::string_view name(entry->d_name);
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) fail("cannot list", path);
  std::sort(names.begin(), names.end());
  return names;
}

void publish_file(const std::string& source, const std::string& target, bool sync) {
  if (::rename(source.c_str(), target.c_str()) != 0) fail("cannot publish as", target);
  if (sync) sync_directory(parent_of(target));
}

std::optional<FileStatus> stat_file(const std::string& path) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    fail("cannot stat", path);
  }
  const FileType type = S_ISREG(status.st_mode)   ? FileType::file
                        : S_ISDIR(status.st_mode) ? FileType::directory
                                                  : FileType::other;
  return FileStatus{
      type,
      static_cast<std::uint64_t>(status.st_size),
      static_cast<std::uint64_t>(status.st_blocks) * 512,
      status.st_ino,
      static_cast<double>(status.st_mtim.tv_sec) * 1e3 + static_cast<double>(status.st_mtim.tv_nsec) / 1e6,
      status.st_mode & 07777,
      status.st_uid,
      status.st_nlink,
  };
}

FileSystemStatus stat_file_system(const std::string& path) {
  struct statvfs status {};
  while (statvfs(path.c_str(), &status) != 0) {
    if (errno != EINTR) fail("cannot stat the file system of", path);
  }
  const std::uint64_t block = status.f_frsize;
  return {status.f_blocks * block, status.f_bfree * block, status.f_bavail * block};
}

void set_owner(const std::string& path, uid_t uid, gid_t gid) {
  if (::lchown(path.c_str(), uid, gid) != 0) fail("cannot change the owner of", path);
}

}  // namespace node_compute
