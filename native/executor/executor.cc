#include "executor/executor.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <utility>

#include "executor/failure.h"
#include "executor/signals_blocked.h"

namespace node_compute {

const char* lane_name(Lane lane) noexcept {
  switch (lane) {
    case Lane::start:
      return "start";
    case Lane::wait:
      return "wait";
    case Lane::bulk:
      return "bulk";
    case Lane::probe:
      return "probe";
    case Lane::pulse:
      return "pulse";
    case Lane::file:
      return "file";
  }
  return "unknown";
}

namespace {

/// While jobs come this quickly one after the other, as from a caller who awaits each, a thread that has done
/// one looks for the next for a while before it sleeps: to wake it takes longer than a short job does.
constexpr std::chrono::microseconds kOften{200};
constexpr std::chrono::microseconds kLook{50};

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

class Executor::LaneQueue {
 public:
  LaneQueue(Lane lane, LaneLimits limits) : lane_(lane), limits_(limits) {}

  ~LaneQueue() {
    std::deque<std::unique_ptr<Job>> queued;
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      queued.swap(queue_);
    }
    wake_.notify_all();
    for (const auto& job : queued) job->drop();
    for (auto& thread : threads_) thread.join();
  }

  LaneQueue(const LaneQueue&) = delete;
  LaneQueue& operator=(const LaneQueue&) = delete;

  void submit(std::unique_ptr<Job> job) {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (queue_.size() >= limits_.queue) {
        throw QueueFull(std::string("the lane ") + lane_name(lane_) + " has " +
                        std::to_string(queue_.size()) + " calls waiting");
      }
      // Before the push: where no thread can be made and none exists, the caller must learn of it.
      if (idle_ <= queue_.size() && threads_.size() < limits_.threads) grow();
      queue_.push_back(std::move(job));
      note_arrival();
      wake = claim_wake();
    }
    if (wake) wake_.notify_one();
  }

  void sweep_cancelled() {
    std::vector<std::unique_ptr<Job>> dropped;
    {
      const std::lock_guard lock(mutex_);
      const auto first = std::stable_partition(queue_.begin(), queue_.end(), [](const auto& job) {
        return !(job->cancellation() && job->cancellation()->cancelled());
      });
      std::move(first, queue_.end(), std::back_inserter(dropped));
      queue_.erase(first, queue_.end());
    }
    for (const auto& job : dropped) job->drop();
  }

  LaneStatistics statistics() const {
    const std::lock_guard lock(mutex_);
    return {lane_, queue_.size(), threads_.size() - idle_, threads_.size(), completed_};
  }

 private:
  /// Whether the caller is to wake a thread, with mutex_ held. One at a time: a thread that takes a job wakes
  /// the next if more wait. Short jobs are then all done by one thread that is awake, and the submitter, the
  /// JavaScript thread, pays for one wake-up and not for each.
  bool claim_wake() { return !queue_.empty() && !looking_ && sleeping_ > 0 && !std::exchange(waking_, true); }

  /// Called with mutex_ held.
  void note_arrival() {
    const auto now = std::chrono::steady_clock::now();
    often_ = now - last_arrival_ < kOften;
    last_arrival_ = now;
    arrivals_.fetch_add(1, std::memory_order_relaxed);
  }

  /// Called, and left, with mutex_ held. One thread at a time; on a single core it would only be in the way.
  void look(std::unique_lock<std::mutex>& lock) {
    static const bool alone = std::thread::hardware_concurrency() < 2;
    if (!often_ || alone || std::exchange(looking_, true)) return;
    const auto seen = arrivals_.load(std::memory_order_relaxed);
    lock.unlock();
    const auto until = std::chrono::steady_clock::now() + kLook;
    do {
      for (int i = 0; i < 16 && arrivals_.load(std::memory_order_relaxed) == seen; ++i) relax();
    } while (arrivals_.load(std::memory_order_relaxed) == seen && std::chrono::steady_clock::now() < until);
    lock.lock();
    looking_ = false;
  }

  /// Called with mutex_ held.
  void grow() {
    const SignalsBlocked blocked;
    try {
      threads_.emplace_back([this] { work(); });
      ++idle_;
    } catch (const std::system_error&) {
      // Out of threads: those there are go on with the queue.
      if (threads_.empty()) throw QueueFull("no thread can be started");
    }
  }

  void work() {
    pthread_setname_np(pthread_self(), (std::string("compute-") + lane_name(lane_)).c_str());
    std::unique_lock lock(mutex_);
    for (;;) {
      if (!stopping_ && queue_.empty()) look(lock);
      while (!stopping_ && queue_.empty()) {
        ++sleeping_;
        wake_.wait(lock);
        --sleeping_;
        waking_ = false;
      }
      if (queue_.empty()) return;
      std::unique_ptr<Job> job = std::move(queue_.front());
      queue_.pop_front();
      --idle_;
      const bool wake = claim_wake();
      lock.unlock();
      if (wake) wake_.notify_one();
      if (job->cancellation() && job->cancellation()->cancelled()) {
        job->drop();
      } else {
        job->run();
      }
      // Outside the lock: a job's last reference may close a libvirt connection.
      job.reset();
      lock.lock();
      ++idle_;
      ++completed_;
    }
  }

  const Lane lane_;
  const LaneLimits limits_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  std::size_t sleeping_ = 0;  // of the idle: those that wait for wake_
  bool looking_ = false;      // of the idle: one is in look()
  bool waking_ = false;       // one of them was woken and has not come yet
  std::uint64_t completed_ = 0;
  bool stopping_ = false;
  std::chrono::steady_clock::time_point last_arrival_;
  bool often_ = false;                      // the last one came soon after the one before
  std::atomic<std::uint64_t> arrivals_{0};  // read without mutex_ in look()
};

Executor::Executor(const Limits& limits) {
  for (std::size_t i = 0; i < kLanes; ++i) {
    lanes_[i] = std::make_unique<LaneQueue>(static_cast<Lane>(i), limits[i]);
  }
}

Executor::~Executor() = default;

Executor::Limits Executor::default_limits() {
  const std::size_t cores = std::max(1U, std::thread::hardware_concurrency());
  Limits limits{};
  limits[static_cast<std::size_t>(Lane::start)] = {2 * cores, 4096};
  limits[static_cast<std::size_t>(Lane::wait)] = {16, 4096};
  limits[static_cast<std::size_t>(Lane::bulk)] = {std::clamp<std::size_t>(cores, 2, 4), 1024};
  limits[static_cast<std::size_t>(Lane::probe)] = {4, 16384};
  limits[static_cast<std::size_t>(Lane::pulse)] = {2, 64};
  limits[static_cast<std::size_t>(Lane::file)] = {4, 16384};
  return limits;
}

Executor& Executor::process() {
  // Leaked on purpose: a static object would be destroyed while its threads still run at exit.
  static Executor* const executor =
      new Executor(default_limits());  // NOLINT(cppcoreguidelines-owning-memory)
  return *executor;
}

void Executor::submit(Lane lane, std::unique_ptr<Job> job) {
  lanes_[static_cast<std::size_t>(lane)]->submit(std::move(job));
}

void Executor::sweep_cancelled() {
  for (const auto& lane : lanes_) lane->sweep_cancelled();
}

std::vector<LaneStatistics> Executor::statistics() const {
  std::vector<LaneStatistics> all;
  all.reserve(lanes_.size());
  for (const auto& lane : lanes_) all.push_back(lane->statistics());
  return all;
}

}  // namespace node_compute
