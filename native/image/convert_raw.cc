#include "image/convert_raw.h"

#include <atomic>
#include <memory>
#include <vector>

#include "image/image_io.h"
#include "image/parallel.h"
#include "image/raw_writer.h"
#include "image/units.h"

namespace node_compute {

namespace {

class RawWorker : public UnitWorker {
 public:
  RawWorker(const Disk& disk, int target, const std::string& name, const RawOptions& options,
            std::atomic<bool>& reflinks)
      : disk_(disk), target_(target), options_(options), writer_(disk, target, name, reflinks) {}

  void run(const Unit& unit) override {
    for (const Extent& extent : disk_.map(unit.offset, unit.bytes)) {
      if (options_.done && !extent.reads_as_zeros()) {
        options_.done->rest_of(extent, [this](const Extent& part) { writer_.write(part); });
      } else {
        writer_.write(extent);
      }
    }
    writer_.flush();
    if (options_.writeback) start_writeback(target_, unit.offset, unit.bytes);
  }

  std::uint64_t written_bytes() const noexcept { return writer_.written_bytes(); }

 private:
  const Disk& disk_;
  const int target_;
  const RawOptions& options_;
  RawWriter writer_;
};

}  // namespace

std::uint64_t convert_to_raw(const Disk& disk, int target, const std::string& name, const RawOptions& options,
                             Cancellation& cancel) {
  truncate_to(target, disk.size(), name);
  std::atomic<bool> reflinks{true};
  std::vector<std::unique_ptr<UnitWorker>> workers;
  for (unsigned i = 0; i < conversion_threads(options.threads); ++i) {
    workers.push_back(std::make_unique<RawWorker>(disk, target, name, options, reflinks));
  }
  run_workers(disk, workers, cancel);
  std::uint64_t written = 0;
  for (const auto& worker : workers) written += static_cast<RawWorker&>(*worker).written_bytes();
  return written;
}

}  // namespace node_compute
