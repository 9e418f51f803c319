#include "image/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "executor/signals_blocked.h"

namespace node_compute {

namespace {

constexpr unsigned kMaxThreads = 4;

}  // namespace

unsigned conversion_threads(unsigned wanted) {
  if (wanted > 0) return std::min(wanted, kMaxThreads);
  return std::clamp(std::thread::hardware_concurrency(), 1U, kMaxThreads);
}

void in_parallel(std::size_t threads, const std::function<bool(std::size_t)>& step) {
  std::atomic<bool> stop{false};
  std::mutex mutex;  // guards failure
  std::exception_ptr failure;
  const auto work = [&](std::size_t number) {
    try {
      while (!stop && step(number)) continue;
    } catch (...) {
      stop = true;
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  {
    const SignalsBlocked blocked;
    for (std::size_t i = 1; i < threads; ++i) {
      try {
        others.emplace_back(work, i);
      } catch (const std::system_error&) {
        // Out of threads: those there are do it all.
        break;
      }
    }
  }
  work(0);
  for (auto& thread : others) thread.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace node_compute
