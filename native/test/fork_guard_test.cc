// The double fork of libvirt beside a fork handler like libuv's: the inner pipe must reach the grandchild.
#include "libvirt/fork_guard.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>
#include <vector>

using namespace node_compute;

namespace {

// What libuv does: in each child it closes its signal pipe, opens a new one and writes one byte into it.
std::array<int, 2> signal_pipe{-1, -1};

void open_signal_pipe() {
  if (pipe2(signal_pipe.data(), O_CLOEXEC) != 0) _exit(90);
  const char token = 42;
  if (write(signal_pipe[1], &token, 1) != 1) _exit(91);
}

void reopen_in_child() {
  close(signal_pipe[0]);
  close(signal_pipe[1]);
  open_signal_pipe();
}

bool guarded() {
  static const bool once = [] {
    open_signal_pipe();
    pthread_atfork(nullptr, nullptr, &reopen_in_child);
    return install_fork_guard();
  }();
  return once;
}

/// Forks twice as libvirt does to daemonise: the child closes everything but `keep`, opens a pipe, forks, and
/// reads what the grandchild writes into it. The exit status is 0 when the byte came through.
int daemonise_through_pipe(int filler_descriptors) {
  std::array<int, 2> outer{};
  REQUIRE(pipe2(outer.data(), O_CLOEXEC) == 0);
  const pid_t child = fork();
  if (child == 0) {
    for (int fd = 3; fd < 256; ++fd) {
      if (fd != outer[1]) close(fd);
    }
    std::vector<int> fillers;
    for (int i = 0; i < filler_descriptors; ++i) fillers.push_back(open("/dev/null", O_RDONLY));
    std::array<int, 2> inner{};
    if (pipe2(inner.data(), O_CLOEXEC) != 0) _exit(2);
    const int flags = fcntl(inner[1], F_GETFD);
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      if (fcntl(inner[1], F_GETFD) != flags) _exit(3);
      for (const int fd : fillers) {
        if (fcntl(fd, F_GETFD) < 0) _exit(4);
      }
      const char word = 'x';
      _exit(write(inner[1], &word, 1) == 1 ? 0 : 5);
    }
    close(inner[1]);
    char word = 0;
    const bool came = read(inner[0], &word, 1) == 1 && word == 'x';
    int status = 0;
    waitpid(grandchild, &status, 0);
    _exit(came && status == 0 ? 0 : 6);
  }
  close(outer[0]);
  close(outer[1]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

}  // namespace

TEST_CASE("a pipe under the numbers of libuv's survives the second fork") {
  REQUIRE(guarded());
  // The more fillers, the higher the inner pipe: below, on, and above libuv's two numbers.
  for (int fillers = 0; fillers < 24; ++fillers) {
    CAPTURE(fillers);
    CHECK(daemonise_through_pipe(fillers) == 0);
  }
}

TEST_CASE("forking twice from many threads at once reaches every grandchild") {
  REQUIRE(guarded());
  std::vector<std::thread> threads;
  std::array<int, 8> worst{};
  for (std::size_t t = 0; t < worst.size(); ++t) {
    threads.emplace_back([&worst, t] {
      for (int i = 0; i < 10; ++i) worst[t] = std::max(worst[t], daemonise_through_pipe(static_cast<int>(t)));
    });
  }
  for (auto& thread : threads) thread.join();
  for (const int status : worst) CHECK(status == 0);
}

TEST_CASE("a fork leaves no descriptor behind in the parent, and keeps errno") {
  REQUIRE(guarded());
  const int before = dup(0);
  close(before);
  errno = EDOM;
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
  }
  CHECK(errno == EDOM);
  const int after = dup(0);
  close(after);
  CHECK(after == before);
}
