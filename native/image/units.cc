#include "image/units.h"

#include <algorithm>

#include "executor/failure.h"
#include "image/parallel.h"

namespace node_compute {

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

void run_workers(const Disk& disk, const std::vector<std::unique_ptr<UnitWorker>>& workers,
                 Cancellation& cancel) {
  Units units(disk);
  in_parallel(workers.size(), [&](std::size_t number) {
    const auto unit = units.take(cancel);
    if (!unit) return false;
    if (cancel.cancelled()) throw Cancelled();
    workers[number]->run(*unit);
    cancel.advance(unit->bytes);
    return true;
  });
  if (cancel.cancelled()) throw Cancelled();
}

}  // namespace node_compute
