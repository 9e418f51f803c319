// A flag that the caller raises and long-running work looks at between two chunks.
#pragma once

#include <atomic>

namespace node_compute {

class Cancellation {
 public:
  void cancel() noexcept { cancelled_.store(true, std::memory_order_release); }
  bool cancelled() const noexcept { return cancelled_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace node_compute
