#include "image/units.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>

#include "executor/failure.h"
#include "executor/signals_blocked.h"

namespace node_compute {

namespace {

constexpr unsigned kMaxThreads = 4;

}  // namespace

std::optional<Unit> Units::take(Cancellation& progress) {
  const std::lock_guard lock(mutex_);
  if (position_ >= disk_.size()) return std::nullopt;
  const std::uint64_t next = disk_.next(position_);
  const std::uint64_t offset = next < disk_.size() ? next / kBytes * kBytes : disk_.size();
  if (offset > position_) progress.advance(offset - position_);
  const Unit unit{offset, std::min(kBytes, disk_.size() - offset)};
  position_ = unit.offset + unit.bytes;
  if (unit.bytes == 0) return std::nullopt;
  return unit;
}

void Units::stop() {
  const std::lock_guard lock(mutex_);
  position_ = disk_.size();
}

unsigned conversion_threads(unsigned wanted) {
  if (wanted > 0) return std::min(wanted, kMaxThreads);
  return std::clamp(std::thread::hardware_concurrency(), 1U, kMaxThreads);
}

void run_workers(const Disk& disk, const std::vector<std::unique_ptr<UnitWorker>>& workers,
                 Cancellation& cancel) {
  Units units(disk);
  std::mutex mutex;  // guards failure
  std::exception_ptr failure;
  const auto work = [&](UnitWorker& worker) {
    try {
      while (const auto unit = units.take(cancel)) {
        if (cancel.cancelled()) throw Cancelled();
        worker.run(*unit);
        cancel.advance(unit->bytes);
      }
    } catch (...) {
      units.stop();
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  {
    const SignalsBlocked blocked;
    for (std::size_t i = 1; i < workers.size(); ++i) {
      try {
        threads.emplace_back(work, std::ref(*workers[i]));
      } catch (const std::system_error&) {
        // Out of threads: those there are do it all.
        break;
      }
    }
  }
  work(*workers.front());
  for (auto& thread : threads) thread.join();
  if (failure) std::rethrow_exception(failure);
  if (cancel.cancelled()) throw Cancelled();
}

}  // namespace node_compute
