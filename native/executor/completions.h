// Results on their way back to one JavaScript environment: collected in batches, one wake-up for many.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace node_compute {

/// Something that ended on another thread and is settled on the environment's own.
class Completion {
 public:
  virtual ~Completion() = default;
};

/// Filled by any thread, emptied by the environment's. After close() everything pushed is destroyed unseen.
class Completions {
 public:
  /// `wake` is called, with the lock held, when the first completion of a batch arrives; it must not call
  /// back.
  explicit Completions(std::function<void()> wake) : wake_(std::move(wake)) {}

  void push(std::unique_ptr<Completion> completion) {
    const std::lock_guard lock(mutex_);
    // A completion refused here is destroyed by the caller's unique_ptr, after the lock.
    if (closed_) return;
    pending_.push_back(std::move(completion));
    if (pending_.size() == 1) wake_();
  }

  std::vector<std::unique_ptr<Completion>> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(pending_, {});
  }

  void close() {
    std::vector<std::unique_ptr<Completion>> dropped;
    const std::lock_guard lock(mutex_);
    closed_ = true;
    dropped.swap(pending_);
  }

 private:
  std::function<void()> wake_;
  std::mutex mutex_;  // guards all below and wake_
  std::vector<std::unique_ptr<Completion>> pending_;
  bool closed_ = false;
};

}  // namespace node_compute
