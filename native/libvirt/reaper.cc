#include "libvirt/reaper.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "executor/failure.h"
#include "executor/signals_blocked.h"

namespace node_compute {

namespace {

std::string read_all(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return "";
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const ssize_t got = read(fd, buffer.data(), buffer.size());
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  close(fd);
  return text;
}

std::string stat_of(pid_t pid) { return read_all("/proc/" + std::to_string(pid) + "/stat"); }

struct Zombie {
  std::string name;  ///< its first 15 characters
  pid_t session;
};

/// Nothing where it still runs.
std::optional<Zombie> parse(const std::string& stat) {
  // The name, in parentheses, may itself hold spaces and parentheses. After it: state ppid pgrp session ...
  const auto begin = stat.find('(');
  const auto end = stat.rfind(')');
  if (begin == std::string::npos || end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(end + 1));
  char status = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t session = 0;
  if (!(fields >> status >> parent >> group >> session)) return std::nullopt;
  if (status != 'Z' && status != 'X') return std::nullopt;
  return Zombie{stat.substr(begin + 1, end - begin - 1), session};
}

/// Children of every thread: an orphan is handed to whichever thread the kernel picks.
std::vector<pid_t> children() {
  std::vector<pid_t> all;
  DIR* const tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return all;
  while (const dirent* task = readdir(tasks)) {
    if (task->d_name[0] == '.') continue;
    std::istringstream list(read_all(std::string("/proc/self/task/") + task->d_name + "/children"));
    for (pid_t pid = 0; list >> pid;) all.push_back(pid);
  }
  closedir(tasks);
  return all;
}

std::mutex expected_mutex;  // guards expected_until
std::condition_variable expected;
std::chrono::steady_clock::time_point expected_until;

/// Without any child waitid() does not block: sleep until a start is announced, then look often for a while.
void wait_for_children() {
  std::unique_lock lock(expected_mutex);
  const bool soon = std::chrono::steady_clock::now() < expected_until;
  expected.wait_for(lock, soon ? std::chrono::milliseconds(5) : std::chrono::milliseconds(5'000));
}

/// QEMU forks twice to become a daemon, and the first of these two leads a session, as a detached child of
/// our own does. The owner of such a child collects it at once; one that nobody has wanted for long is a rest
/// of QEMU.
class Remains {
 public:
  bool collect(pid_t zombie) {
    const auto now = std::chrono::steady_clock::now();
    if (zombie != zombie_) {
      zombie_ = zombie;
      since_ = now;
    }
    constexpr std::chrono::seconds kWanted{10};
    if (now - since_ < kWanted || !is_daemons_first_half(stat_of(zombie), zombie)) return false;
    return waitpid(zombie, nullptr, WNOHANG) == zombie;
  }

 private:
  pid_t zombie_ = 0;
  std::chrono::steady_clock::time_point since_;
};

void run() {
  using std::chrono::milliseconds;
  pthread_setname_np(pthread_self(), "compute-reaper");
  constexpr milliseconds kShortest{2};
  constexpr milliseconds kLongest{100};
  milliseconds pause = kShortest;
  Remains remains;
  for (;;) {
    siginfo_t info{};
    // WNOWAIT: look, do not take. Whose zombie it is decides who may collect it.
    if (waitid(P_ALL, 0, &info, WEXITED | WNOWAIT) != 0) {
      wait_for_children();
      continue;
    }
    if (collect_daemon(info.si_pid) || remains.collect(info.si_pid)) {
      pause = kShortest;
      continue;
    }
    // The first zombie is somebody else's and hides those behind it.
    bool any = false;
    for (const pid_t pid : children()) any = collect_daemon(pid) || any;
    if (any) {
      pause = kShortest;
      continue;
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, kLongest);
  }
}

void start() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0) throw SystemError(errno, "prctl(PR_SET_CHILD_SUBREAPER)");
  const SignalsBlocked blocked;
  std::thread(run).detach();
}

}  // namespace

bool is_adopted_daemon(const std::string& stat, pid_t pid, pid_t own_session) {
  const auto ended = parse(stat);
  return ended && ended->session != own_session && ended->session != pid;
}

bool is_daemons_first_half(const std::string& stat, pid_t pid) {
  const auto ended = parse(stat);
  return ended && ended->session == pid && ended->name.starts_with("qemu-");
}

bool collect_daemon(pid_t pid) {
  return is_adopted_daemon(stat_of(pid), pid, getsid(0)) && waitpid(pid, nullptr, WNOHANG) == pid;
}

void expect_daemons() {
  {
    const std::lock_guard lock(expected_mutex);
    expected_until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  }
  expected.notify_one();
}

void ensure_reaper() {
  static std::once_flag once;
  std::call_once(once, start);
}

}  // namespace node_compute
