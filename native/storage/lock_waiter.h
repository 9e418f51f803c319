// Waits for any number of file locks on one thread, so that waiters never fill a lane that the lock's holder
// needs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "executor/cancellation.h"
#include "storage/file_lock.h"

namespace node_compute {

/// flock(2) that blocks cannot be cancelled without a signal, so the thread tries at once, after 1
/// ms, then at twice the pause each, 16 ms at the most. That is also the longest a cancelled waiter stays,
/// and no order is kept between waiters. The thread starts with the first waiter and sleeps without any. Safe
/// to use from any thread.
class LockWaiter {
 public:
  /// Called once, on the waiter's thread: the lock, or why there is none (Cancelled, SystemError, Closed).
  using Done = std::function<void(std::unique_ptr<FileLock>, std::exception_ptr)>;

  LockWaiter() = default;
  /// Ends all waiting with Closed.
  ~LockWaiter();
  LockWaiter(const LockWaiter&) = delete;
  LockWaiter& operator=(const LockWaiter&) = delete;

  /// The process's own; never destroyed, as its thread may be in use at exit.
  static LockWaiter& process();

  /// Throws std::system_error where no thread can be started; `done` is then not called.
  void wait(std::string path, bool shared, std::shared_ptr<Cancellation> cancellation, Done done);

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiter {
    std::string path;
    bool shared;
    std::shared_ptr<Cancellation> cancellation;
    Done done;
    Clock::time_point next;
    std::chrono::milliseconds pause;
  };

  void start();
  void work();
  static bool attempt(Waiter& waiter);

  std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::vector<Waiter> arrived_;
  std::thread thread_;
  bool stopping_ = false;
};

}  // namespace node_compute
