// What a caller and long-running work tell each other between two chunks: to stop, and how far it is.
#pragma once

#include <atomic>
#include <cstdint>

namespace node_compute {

class Cancellation {
 public:
  void cancel() noexcept { cancelled_.store(true, std::memory_order_release); }
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }

  /// For progress only; the unit is the work's own.
  void advance(std::uint64_t amount) noexcept { done_.fetch_add(amount, std::memory_order_relaxed); }
  std::uint64_t done() const noexcept { return done_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
  std::atomic<std::uint64_t> done_{0};
};

}  // namespace node_compute
