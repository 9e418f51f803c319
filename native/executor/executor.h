// Threads of our own for every call that may block, in lanes, so that one hung call never stops another kind.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#include "executor/cancellation.h"

namespace node_compute {

enum class Lane : std::uint8_t {
  start,  ///< domain starts: CPU-bound, two threads a core
  wait,   ///< destroy, shutdown, close: they mostly wait
  bulk,   ///< image bytes: copy, inspect, digest
  probe,  ///< short questions to libvirt and the kernel: state, info, links
  pulse,  ///< whether libvirtd is there: never behind the calls that hang because it is not
  file,   ///< small files, directories, locks: a journal never waits for a hung libvirt
};
inline constexpr std::size_t kLanes = 6;
const char* lane_name(Lane lane) noexcept;

/// A unit of work. The executor owns it from submit() until it has called exactly one of run() and drop().
class Job {
 public:
  virtual ~Job() = default;
  /// On a thread of the lane. Must not throw: failures are part of the job's result.
  virtual void run() noexcept = 0;
  /// Instead of run(), where the job was cancelled while it waited.
  virtual void drop() noexcept = 0;

  const std::shared_ptr<Cancellation>& cancellation() const noexcept { return cancellation_; }

 protected:
  explicit Job(std::shared_ptr<Cancellation> cancellation) : cancellation_(std::move(cancellation)) {}

 private:
  std::shared_ptr<Cancellation> cancellation_;
};

struct LaneStatistics {
  Lane lane;
  std::size_t queued;
  std::size_t running;
  std::size_t threads;
  std::uint64_t completed;
};

struct LaneLimits {
  std::size_t threads;
  std::size_t queue;
};

/// Threads start when there is work for them and then stay. Safe to use from any thread.
class Executor {
 public:
  using Limits = std::array<LaneLimits, kLanes>;

  explicit Executor(const Limits& limits);
  /// Drops what is queued and waits for what runs.
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// The process's executor. Never destroyed: at exit its threads may still be inside libvirt.
  static Executor& process();
  static Limits default_limits();

  /// Throws QueueFull; the job is then untouched and destroyed.
  void submit(Lane lane, std::unique_ptr<Job> job);
  /// Drops, on the calling thread, the queued jobs whose cancellation was raised. Running jobs look at it
  /// themselves.
  void sweep_cancelled();
  std::vector<LaneStatistics> statistics() const;

 private:
  class LaneQueue;
  std::array<std::unique_ptr<LaneQueue>, kLanes> lanes_;
};

}  // namespace node_compute
