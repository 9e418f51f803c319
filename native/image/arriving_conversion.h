// A qcow2 image to a raw file while its bytes still arrive: what is there is placed at once, the rest when
// all of it is there and was found good.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "executor/cancellation.h"
#include "image/cluster_set.h"
#include "image/convert.h"
#include "image/disk.h"
#include "image/image_io.h"
#include "image/raw_writer.h"

namespace node_compute {

struct ArrivingOptions {
  /// Length that the image will have.
  std::uint64_t image_bytes = 0;
  std::uint64_t max_virtual_bytes = 0;
  /// What may be placed before the image was found good: an image of few bytes may claim many.
  std::uint64_t max_early_bytes = 0;
  /// 0 chooses.
  unsigned threads = 0;
};

/// Trusts nothing of what arrives: each read is inside the file and each write inside the disk, whatever the
/// tables say, and only finish(), which validates the image, gives a result. What was placed early is what
/// finish() would have placed: bytes that have arrived don't change any more. One call at a time works,
/// others wait.
class ArrivingConversion {
 public:
  /// `source` has its full length already and is filled from its start; `target` must not exist, mode 0600.
  ArrivingConversion(std::string source, const std::string& target, const ArrivingOptions& options);

  /// The first `arrived` bytes are there. Places the clusters that lie in them and whose tables do. What is
  /// wrong with the image is no failure here: nothing more is placed then, and finish() tells. Cancelled.
  void advance(std::uint64_t arrived, const Cancellation& cancel);
  /// Of the disk; 0 as long as the header has not arrived, and for what is no image.
  std::uint64_t virtual_bytes() const noexcept { return virtual_bytes_; }

  /// The image is there whole. Validates it, places the rest, keeps the target, not synced. ImageError,
  /// SystemError, Cancelled; the target is then gone, as it is when this is destroyed before.
  ConvertResult finish(Cancellation& cancel);
  void abandon() noexcept;

 private:
  struct Table {
    std::uint64_t offset;
    std::uint64_t index;
  };

  bool open(std::uint64_t arrived, const Cancellation& cancel);
  void read_tables(std::uint64_t arrived);
  void add(Extent extent);
  void place(std::uint64_t arrived, const Cancellation& cancel);
  void place_slice(const Extent* first, std::size_t count);
  void give_up() noexcept;

  std::mutex mutex_;  // guards all below but virtual_bytes_
  const std::string source_;
  const ArrivingOptions options_;
  std::optional<NewFile> target_;
  std::atomic<std::uint64_t> virtual_bytes_{0};
  bool given_up_ = false;

  std::optional<Disk> disk_;
  std::optional<ClusterSet> placed_;
  std::uint64_t placed_bytes_ = 0;
  /// L2 tables in the order in which they arrive, and how many of them were read.
  std::vector<Table> tables_;
  std::size_t tables_read_ = 0;
  /// Extents whose tables are there, and whose bytes may not be.
  std::vector<Extent> pending_;
  std::atomic<bool> reflinks_{true};
  std::vector<std::unique_ptr<RawWriter>> writers_;
};

}  // namespace node_compute
