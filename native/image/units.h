// A disk cut into pieces that threads take one after another.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "executor/cancellation.h"
#include "image/disk.h"

namespace node_compute {

/// A stretch of the disk.
struct Unit {
  std::uint64_t offset = 0;
  std::uint64_t bytes = 0;
};

class Units {
 public:
  /// A power of two, and no smaller than any cluster. Small enough that the last thread is not left alone for
  /// long.
  static constexpr std::uint64_t kBytes = 8 << 20;

  explicit Units(const Disk& disk) : disk_(disk) {}

  /// The next one that may hold something other than zeros; nothing at the end of the disk. What is passed
  /// over counts as done in `progress`.
  std::optional<Unit> take(Cancellation& progress);

 private:
  std::mutex mutex_;  // guards position_
  const Disk& disk_;
  std::uint64_t position_ = 0;
};

/// What one thread does to each unit it takes.
class UnitWorker {
 public:
  virtual ~UnitWorker() = default;
  virtual void run(const Unit& unit) = 0;
};

/// Runs all workers, each on a thread of its own, the first on this one. Throws what the first that failed
/// threw, or Cancelled; all of them have then ended.
void run_workers(const Disk& disk, const std::vector<std::unique_ptr<UnitWorker>>& workers,
                 Cancellation& cancel);

}  // namespace node_compute
