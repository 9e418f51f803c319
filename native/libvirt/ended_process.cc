#include "libvirt/ended_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <vector>

#include "libvirt/process_figures.h"
#include "libvirt/reaper.h"
#include "storage/file_descriptor.h"

namespace node_compute {

namespace {

using Clock = std::chrono::steady_clock;

// By number: glibc before 2.36 has no functions for them.
int open_process(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }
int copy_descriptor(int process, int number) {
  return static_cast<int>(syscall(SYS_pidfd_getfd, process, number, 0));
}
int signal_process(int process, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, process, signal, nullptr, 0));
}

std::vector<int> sockets_of(pid_t pid) {
  const std::filesystem::path files = "/proc/" + std::to_string(pid) + "/fd";
  std::vector<int> sockets;
  std::error_code gone;
  for (const auto& file : std::filesystem::directory_iterator(files, gone)) {
    const auto target = std::filesystem::read_symlink(file.path(), gone).native();
    if (target.starts_with("socket:")) sockets.push_back(std::stoi(file.path().filename()));
  }
  return sockets;
}

/// Of a monitor that nobody will answer at: libvirtd, started anew, would wait there.
bool is_listening(const FileDescriptor& socket) {
  int listening = 0;
  socklen_t size = sizeof(listening);
  return getsockopt(socket.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening != 0;
}

/// Until its parent, which may be this process, has taken its zombie away.
void await_collected(pid_t pid, int process, Clock::time_point end) {
  pollfd ended{process, POLLIN, 0};
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now());
  if (poll(&ended, 1, static_cast<int>(left.count())) != 1) return;
  while (!collect_daemon(pid) && signal_process(process, 0) == 0 && Clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::microseconds(100));
  }
}

void hold(const std::stop_token& stop, const std::vector<FileDescriptor>& /*sockets*/) {
  constexpr std::chrono::milliseconds kLongest{20};
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any stopped;
  stopped.wait_for(lock, stop, kLongest, [] { return false; });
}

}  // namespace

EndedProcess::EndedProcess(const std::string& uuid) {
  constexpr std::chrono::seconds kPatience{2};
  const auto found = find_processes({uuid});
  const auto qemu = found.find(uuid);
  if (qemu == found.end()) return;
  const FileDescriptor process(open_process(qemu->second));
  if (!process) return;
  std::vector<FileDescriptor> sockets;
  for (const int number : sockets_of(qemu->second)) {
    FileDescriptor socket(copy_descriptor(process.get(), number));
    // EBADF: closed meanwhile.
    if (!socket && errno != EBADF) return;
    if (socket && !is_listening(socket)) sockets.push_back(std::move(socket));
  }
  if (sockets.empty() || signal_process(process.get(), SIGTERM) != 0) return;
  await_collected(qemu->second, process.get(), Clock::now() + kPatience);
  holder_ =
      std::jthread([sockets = std::move(sockets)](const std::stop_token& stop) { hold(stop, sockets); });
}

}  // namespace node_compute
