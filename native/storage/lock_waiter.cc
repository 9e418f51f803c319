#include "storage/lock_waiter.h"

#include <pthread.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "executor/failure.h"
#include "executor/signals_blocked.h"

namespace node_compute {

namespace {

constexpr std::chrono::milliseconds kFirstPause{1};
constexpr std::chrono::milliseconds kLongestPause{16};

}  // namespace

LockWaiter::~LockWaiter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

LockWaiter& LockWaiter::process() {
  static LockWaiter* const waiter = new LockWaiter();  // NOLINT(cppcoreguidelines-owning-memory)
  return *waiter;
}

void LockWaiter::wait(std::string path, bool shared, std::shared_ptr<Cancellation> cancellation, Done done) {
  {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) start();
    arrived_.push_back(
        {std::move(path), shared, std::move(cancellation), std::move(done), Clock::now(), kFirstPause});
  }
  wake_.notify_one();
}

/// With mutex_ held.
void LockWaiter::start() {
  const SignalsBlocked blocked;
  thread_ = std::thread([this] { work(); });
}

void LockWaiter::work() {
  pthread_setname_np(pthread_self(), "compute-lock");
  std::vector<Waiter> waiters;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      const auto due = [this] { return stopping_ || !arrived_.empty(); };
      if (waiters.empty()) {
        wake_.wait(lock, due);
      } else {
        const auto next = std::min_element(waiters.begin(), waiters.end(),
                                           [](const auto& a, const auto& b) { return a.next < b.next; });
        wake_.wait_until(lock, next->next, due);
      }
      std::move(arrived_.begin(), arrived_.end(), std::back_inserter(waiters));
      arrived_.clear();
      if (stopping_) break;
    }
    std::erase_if(waiters, [](Waiter& waiter) { return attempt(waiter); });
  }
  const auto closed = std::make_exception_ptr(Closed("the wait for file locks has ended"));
  for (Waiter& waiter : waiters) waiter.done(nullptr, closed);
}

/// True when the waiter has its answer.
bool LockWaiter::attempt(Waiter& waiter) {
  if (waiter.cancellation && waiter.cancellation->cancelled()) {
    waiter.done(nullptr, std::make_exception_ptr(Cancelled()));
    return true;
  }
  const auto now = Clock::now();
  if (now < waiter.next) return false;
  try {
    if (auto lock = FileLock::try_lock(waiter.path, waiter.shared)) {
      waiter.done(std::make_unique<FileLock>(std::move(*lock)), nullptr);
      return true;
    }
  } catch (...) {
    waiter.done(nullptr, std::current_exception());
    return true;
  }
  waiter.next = now + waiter.pause;
  waiter.pause = std::min(waiter.pause * 2, kLongestPause);
  return false;
}

}  // namespace node_compute
