// File locks: they exclude each other, survive clean-up of the file, wait without a lane, and end when asked
// to.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "executor/failure.h"
#include "storage/file_lock.h"
#include "storage/lock_waiter.h"

using namespace node_compute;
namespace fs = std::filesystem;

namespace {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (fs::temp_directory_path() / "node-compute-lock-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchDirectory() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// What a LockWaiter answered, for a thread that waits for it with a deadline.
class Answer {
 public:
  LockWaiter::Done done() {
    return [this](std::unique_ptr<FileLock> lock, std::exception_ptr failure) {
      const std::lock_guard guard(mutex_);
      lock_ = std::move(lock);
      failure_ = std::move(failure);
      ++count_;
      changed_.notify_all();
    };
  }
  bool arrived(std::chrono::milliseconds deadline) {
    std::unique_lock guard(mutex_);
    return changed_.wait_for(guard, deadline, [this] { return count_ > 0; });
  }
  std::unique_ptr<FileLock> take() {
    const std::lock_guard guard(mutex_);
    if (failure_) std::rethrow_exception(failure_);
    return std::move(lock_);
  }
  int count() {
    const std::lock_guard guard(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::unique_ptr<FileLock> lock_;
  std::exception_ptr failure_;
  int count_ = 0;
};

constexpr std::chrono::milliseconds kDeadline{5000};

}  // namespace

TEST_CASE("an exclusive lock keeps all others out, shared ones only an exclusive one") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "lock";
  auto held = FileLock::try_lock(path, false);
  REQUIRE(held);
  CHECK_FALSE(FileLock::try_lock(path, false));
  CHECK_FALSE(FileLock::try_lock(path, true));
  held->release();
  held->release();
  auto first = FileLock::try_lock(path, true);
  auto second = FileLock::try_lock(path, true);
  CHECK(first);
  CHECK(second);
  CHECK_FALSE(FileLock::try_lock(path, false));
  first.reset();
  second.reset();
  CHECK(FileLock::try_lock(path, false));
  CHECK(fs::exists(path));
}

TEST_CASE("a lock file that is a link, a directory or in no directory is refused") {
  const ScratchDirectory scratch;
  fs::create_symlink(scratch / "target", scratch / "link");
  fs::create_directory(scratch / "directory");
  CHECK_THROWS_AS(FileLock::try_lock(scratch / "link", false), SystemError);
  CHECK_THROWS_AS(FileLock::try_lock(scratch / "directory", false), SystemError);
  CHECK_THROWS_AS(FileLock::try_lock(scratch / "none/lock", false), SystemError);
  CHECK_FALSE(fs::exists(scratch / "target"));
}

TEST_CASE("the kernel frees the lock of a killed process") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "lock";
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto held = FileLock::try_lock(path, false);
    const char answer = held ? 'y' : 'n';
    if (write(ready[1], &answer, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 0;
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  CHECK_FALSE(FileLock::try_lock(path, false));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  CHECK(FileLock::try_lock(path, false));
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE("release frees the lock although a forked child still has the file open") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "lock";
  auto held = FileLock::try_lock(path, false);
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  held->release();
  CHECK(FileLock::try_lock(path, false));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
}

TEST_CASE("processes that also clean up the file never hold the lock at once") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "lock";
  const std::string mark = scratch / "mark";
  constexpr int kRounds = 200;
  std::vector<pid_t> children;
  for (int process = 0; process < 3; ++process) {
    const pid_t child = fork();
    if (child == 0) {
      int overlaps = 0;
      for (int round = 0; round < kRounds;) {
        auto held = FileLock::try_lock(path, false);
        if (!held) continue;
        ++round;
        // Held: nobody else may be between these two lines.
        const int file = open(mark.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0600);
        if (file < 0) {
          ++overlaps;
        } else {
          close(file);
          unlink(mark.c_str());
        }
        if (round % 3 == 0) unlink(path.c_str());
      }
      _exit(overlaps > 250 ? 250 : overlaps);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
  }
}

TEST_CASE("a waiter gets the lock when it is free, and hundreds of waiters need one thread") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "lock";
  auto held = FileLock::try_lock(path, false);
  REQUIRE(held);
  constexpr std::size_t kWaiters = 200;
  std::vector<Answer> answers(kWaiters);
  {
    LockWaiter waiter;
    for (auto& answer : answers) {
      waiter.wait(path, true, std::make_shared<Cancellation>(), answer.done());
    }
    CHECK_FALSE(answers[0].arrived(std::chrono::milliseconds(30)));
    held->release();
    for (auto& answer : answers) CHECK(answer.arrived(kDeadline));
  }
  for (auto& answer : answers) {
    CHECK(answer.count() == 1);
    CHECK(answer.take());
  }
}

TEST_CASE("a cancelled waiter is answered at once and leaves the others waiting") {
  const ScratchDirectory scratch;
  const std::string path = scratch / "lock";
  auto held = FileLock::try_lock(path, false);
  const auto cancellation = std::make_shared<Cancellation>();
  Answer cancelled;
  Answer patient;
  LockWaiter waiter;
  waiter.wait(path, false, cancellation, cancelled.done());
  waiter.wait(path, false, std::make_shared<Cancellation>(), patient.done());
  const auto start = std::chrono::steady_clock::now();
  cancellation->cancel();
  REQUIRE(cancelled.arrived(kDeadline));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(1));
  CHECK_THROWS_AS(cancelled.take(), Cancelled);
  CHECK(patient.count() == 0);
  held->release();
  REQUIRE(patient.arrived(kDeadline));
  CHECK(patient.take());
}

TEST_CASE("waiting ends with the waiter, and a lock that cannot be opened is told") {
  const ScratchDirectory scratch;
  auto held = FileLock::try_lock(scratch / "lock", false);
  Answer closed;
  Answer failed;
  {
    LockWaiter waiter;
    waiter.wait(scratch / "none/lock", false, nullptr, failed.done());
    REQUIRE(failed.arrived(kDeadline));
    waiter.wait(scratch / "lock", false, nullptr, closed.done());
  }
  CHECK_THROWS_AS(failed.take(), SystemError);
  CHECK_THROWS_AS(closed.take(), Closed);
}
