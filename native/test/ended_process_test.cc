// libvirt must not hear of the end of a QEMU before its process is gone.
#include "libvirt/ended_process.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>

#include "libvirt/process_figures.h"
#include "storage/file_descriptor.h"

using namespace node_compute;

namespace {

constexpr const char* kUuid = "44444444-4444-4444-8444-444444444444";

/// What libvirt has of a QEMU: its number, and the other end of its monitor.
struct Guest {
  pid_t pid;
  FileDescriptor monitor;
};

Guest start_guest() {
  std::array<int, 2> ends{};
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
  FileDescriptor ours(ends[0]);
  const FileDescriptor theirs(ends[1]);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(theirs.get(), STDIN_FILENO);
    execl("/bin/sh", "sh", "-c", "read line", "-uuid", kUuid, nullptr);
    _exit(1);
  }
  for (int i = 0; i < 1000 && find_processes({kUuid}).empty(); ++i) usleep(1000);
  return {pid, std::move(ours)};
}

bool hangs_up(const Guest& guest, std::chrono::milliseconds within) {
  pollfd monitor{guest.monitor.get(), POLLIN, 0};
  return poll(&monitor, 1, static_cast<int>(within.count())) == 1;
}

}  // namespace

TEST_CASE("a process is gone before its sockets close, which they do then") {
  using std::chrono::milliseconds;
  const Guest guest = start_guest();
  std::thread parent([&] { waitpid(guest.pid, nullptr, 0); });
  {
    const EndedProcess ended(kUuid);
    CHECK_FALSE(hangs_up(guest, milliseconds(0)));
    CHECK(kill(guest.pid, 0) == -1);
    CHECK(errno == ESRCH);
  }
  CHECK(hangs_up(guest, milliseconds(0)));
  parent.join();
}

TEST_CASE("the sockets are held for a moment only, whatever libvirt does meanwhile") {
  const Guest guest = start_guest();
  std::thread parent([&] { waitpid(guest.pid, nullptr, 0); });
  const EndedProcess ended(kUuid);
  CHECK(hangs_up(guest, std::chrono::seconds(10)));
  parent.join();
}

TEST_CASE("nothing happens where no process is known to be the domain's") {
  const EndedProcess ended("55555555-5555-4555-8555-555555555555");
  CHECK(find_processes({kUuid}).empty());
}
