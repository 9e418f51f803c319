#include "libvirt/fork_guard.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "executor/failure.h"

namespace node_compute {

namespace {

// In a child only async-signal-safe calls are allowed: everything below lives in fixed storage.

constexpr int kNone = -1;

struct Identity {
  bool open = false;
  dev_t device = 0;
  ino_t inode = 0;
};

Identity identify(int fd) noexcept {
  struct stat status {};
  if (fd < 0 || fstat(fd, &status) != 0) return {};
  return {true, status.st_dev, status.st_ino};
}

bool same(const Identity& a, const Identity& b) noexcept {
  return a.open == b.open && (!a.open || (a.device == b.device && a.inode == b.inode));
}

bool is_fifo(int fd) noexcept {
  struct stat status {};
  return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

/// A new pipe takes the lowest free numbers, so after libuv closed its old one the new one is not above it.
constexpr std::size_t kSnapshot = 1024;

struct Saved {
  int number = kNone;  ///< where it stood
  int copy = kNone;    ///< where it waits during the fork
  int flags = 0;
};

struct State {
  /// libuv's descriptors in this process, lowest first.
  std::array<int, 2> pipe{kNone, kNone};
  /// The pipe that libuv itself opened; anything else under its numbers is somebody else's.
  Identity own;
  /// Set in every process that came from a fork.
  bool forked = false;
  std::array<Identity, kSnapshot> before;
  std::array<Saved, 2> saved;
};

State state;
// Taken in prepare, given back in parent and child: forks of several threads share `state`.
pthread_mutex_t forking = PTHREAD_MUTEX_INITIALIZER;

std::size_t snapshot_size() noexcept {
  const int highest = state.pipe[1] > state.pipe[0] ? state.pipe[1] : state.pipe[0];
  const auto size = static_cast<std::size_t>(highest) + 1;
  return size < kSnapshot ? size : kSnapshot;
}

void prepare() {
  const int error = errno;
  pthread_mutex_lock(&forking);
  for (std::size_t fd = 0; fd < snapshot_size(); ++fd) state.before[fd] = identify(static_cast<int>(fd));
  for (std::size_t i = 0; i < state.saved.size(); ++i) {
    Saved& saved = state.saved[i];
    saved = {};
    // In the original process libuv's numbers are libuv's own: nobody else's descriptor can stand there.
    if (!state.forked) continue;
    const int number = state.pipe[i];
    const Identity now = identify(number);
    if (!now.open || same(now, state.own)) continue;
    saved.flags = fcntl(number, F_GETFD);
    // Above both of libuv's numbers, where its handler closes nothing.
    saved.copy = fcntl(number, F_DUPFD_CLOEXEC, static_cast<int>(snapshot_size()));
    if (saved.copy != kNone) saved.number = number;
  }
  errno = error;
}

void drop_copies() noexcept {
  for (Saved& saved : state.saved) {
    if (saved.copy != kNone) close(saved.copy);
    saved = {};
  }
}

void parent() {
  const int error = errno;
  drop_copies();
  pthread_mutex_unlock(&forking);
  errno = error;
}

/// libuv's new pipe: two FIFO numbers that share an inode which stood nowhere before the fork. libuv wrote
/// one byte into it, which tells it from a pipe that another thread opened between snapshot and fork.
void find_new_pipe() noexcept {
  std::array<int, 2> found{kNone, kNone};
  Identity own;
  for (std::size_t i = 0; i < snapshot_size(); ++i) {
    const int fd = static_cast<int>(i);
    const Identity now = identify(fd);
    if (!now.open || same(now, state.before[i]) || !is_fifo(fd)) continue;
    if (found[0] == kNone) {
      int readable = 0;
      if (ioctl(fd, FIONREAD, &readable) != 0 || readable != 1) continue;
      found[0] = fd;
      own = now;
    } else if (same(now, own)) {
      found[1] = fd;
      break;
    }
  }
  if (found[1] == kNone) return;  // libuv's handler did nothing in this child
  state.pipe = found;
  state.own = own;
}

void child() {
  const int error = errno;
  state.forked = true;
  find_new_pipe();
  for (const Saved& saved : state.saved) {
    if (saved.number == kNone) continue;
    // dup2 clears close-on-exec; libvirt's pipe must keep whatever it had.
    if (dup2(saved.copy, saved.number) == saved.number) fcntl(saved.number, F_SETFD, saved.flags);
  }
  drop_copies();
  pthread_mutex_unlock(&forking);
  errno = error;
}

/// Forks once and looks, in the child, which pipe libuv's handler replaced.
std::array<int, 2> probe() {
  struct Entry {
    int fd;
    Identity identity;
  };
  std::vector<Entry> pipes;
  DIR* const directory = opendir("/proc/self/fd");
  if (directory == nullptr) throw SystemError(errno, "opendir", "/proc/self/fd");
  while (const dirent* entry = readdir(directory)) {
    const int fd = std::atoi(entry->d_name);
    if (entry->d_name[0] != '.' && fd != dirfd(directory) && is_fifo(fd)) pipes.push_back({fd, identify(fd)});
  }
  closedir(directory);

  std::array<int, 2> report{};
  if (pipe2(report.data(), O_CLOEXEC) != 0) throw SystemError(errno, "pipe2");
  const pid_t pid = fork();
  if (pid < 0) {
    const int number = errno;
    close(report[0]);
    close(report[1]);
    throw SystemError(number, "fork");
  }
  if (pid == 0) {
    std::array<int, 2> replaced{kNone, kNone};
    for (const Entry& first : pipes) {
      if (same(identify(first.fd), first.identity)) continue;
      for (const Entry& second : pipes) {
        if (second.fd == first.fd || !same(second.identity, first.identity)) continue;
        replaced = {first.fd, second.fd};
      }
    }
    const ssize_t written = write(report[1], replaced.data(), sizeof replaced);
    _exit(written == sizeof replaced ? 0 : 1);
  }
  close(report[1]);
  std::array<int, 2> replaced{kNone, kNone};
  ssize_t got = 0;
  do {
    got = read(report[0], replaced.data(), sizeof replaced);
  } while (got < 0 && errno == EINTR);
  close(report[0]);
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  if (got != sizeof replaced) return {kNone, kNone};
  return replaced;
}

bool install() {
  state.pipe = probe();
  if (state.pipe[0] == kNone) return false;
  state.own = identify(state.pipe[0]);
  // Child handlers run in the order of their registration: libuv registered its own at its first loop, long
  // ago.
  const int failed = pthread_atfork(&prepare, &parent, &child);
  if (failed != 0) throw SystemError(failed, "pthread_atfork");
  return true;
}

}  // namespace

bool install_fork_guard() {
  static std::once_flag once;
  static bool found = false;
  std::call_once(once, [] { found = install(); });
  return found;
}

}  // namespace node_compute
