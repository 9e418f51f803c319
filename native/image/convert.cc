#include "image/convert.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "executor/failure.h"
#include "executor/signals_blocked.h"
#include "image/decompressor.h"
#include "image/image_io.h"
#include "image/inspect.h"
#include "image/qcow2_format.h"
#include "image/qcow2_map.h"

namespace node_compute {

namespace {

/// What a thread takes at a time. Small enough that the last thread is not left alone for long.
constexpr std::uint64_t kUnitBytes = 8 << 20;
/// Read and written at once: fits into the cache of a core, so that the search for zeros costs no memory
/// traffic.
constexpr std::uint64_t kBufferBytes = 256 << 10;
constexpr unsigned kMaxThreads = 4;
constexpr std::uint64_t kSectorBytes = 512;

/// The disk's clusters, handed out unit by unit to the threads of one conversion.
class Units {
 public:
  Units(std::uint64_t clusters, std::uint64_t unit) : clusters_(clusters), unit_(unit) {}

  /// First cluster of the next unit; nothing where all are taken or a thread has failed.
  std::optional<std::uint64_t> take() {
    const std::uint64_t first = next_.fetch_add(unit_);
    if (first >= clusters_) return std::nullopt;
    return first;
  }
  std::uint64_t size() const noexcept { return unit_; }
  /// Nobody needs to look at what comes before `cluster`. Gives the clusters that are left out by that.
  std::uint64_t skip_to(std::uint64_t cluster) {
    std::uint64_t next = next_.load();
    while (next < cluster && !next_.compare_exchange_weak(next, cluster)) {
    }
    return next < cluster ? cluster - next : 0;
  }
  void stop() { next_.store(clusters_); }

 private:
  const std::uint64_t clusters_;
  const std::uint64_t unit_;
  std::atomic<std::uint64_t> next_{0};
};

/// One thread's share. Disk offsets are those of the guest.
class Worker {
 public:
  Worker(const SourceFile& source, const Qcow2Header& header, int target, const std::string& name,
         std::uint64_t disk_bytes, Units& units, Cancellation& cancel)
      : source_(source),
        header_(header),
        map_(source, header),
        target_(target),
        name_(name),
        disk_bytes_(disk_bytes),
        units_(units),
        cancel_(cancel),
        cluster_(header.cluster_size()),
        buffer_(std::max(kBufferBytes, cluster_)) {}

  void run() {
    while (const auto first = units_.take()) {
      if (cancel_.cancelled()) throw Cancelled();
      const auto clusters = map_.read(*first, units_.size());
      if (clusters.empty()) {
        // The L2 table does not exist: neither do its other units.
        cancel_.advance((units_.size() + units_.skip_to(map_.next_table(*first))) * cluster_);
        continue;
      }
      for (std::size_t i = 0; i < clusters.size(); ++i) add((*first + i) * cluster_, clusters[i]);
      flush();
      cancel_.advance(clusters.size() * cluster_);
    }
  }

  std::uint64_t written_bytes() const noexcept { return written_bytes_; }

 private:
  /// Bytes of the disk from `offset` on, `bytes` at most.
  std::uint64_t clip(std::uint64_t offset, std::uint64_t bytes) const {
    return offset < disk_bytes_ ? std::min(bytes, disk_bytes_ - offset) : 0;
  }

  void add(std::uint64_t offset, const GuestCluster& cluster) {
    switch (cluster.kind) {
      case GuestCluster::Kind::zeros:
        return;
      case GuestCluster::Kind::compressed:
        return add_compressed(offset, cluster);
      case GuestCluster::Kind::data:
        break;
    }
    if (!header_.extended_l2()) return add_data(offset, cluster.offset, cluster_);
    const std::uint64_t subcluster = cluster_ / qcow2::kSubclusters;
    for (unsigned i = 0; i < qcow2::kSubclusters; ++i) {
      if ((cluster.data_subclusters >> i & 1) != 0) {
        add_data(offset + i * subcluster, cluster.offset + i * subcluster, subcluster);
      }
    }
  }

  /// Ranges that follow each other on the disk and in the file are read at once.
  void add_data(std::uint64_t offset, std::uint64_t file_offset, std::uint64_t bytes) {
    if (held_ > 0) flush();
    if (run_bytes_ > 0 &&
        (offset != run_offset_ + run_bytes_ || file_offset != run_file_offset_ + run_bytes_)) {
      flush();
    }
    if (run_bytes_ == 0) {
      run_offset_ = offset;
      run_file_offset_ = file_offset;
    }
    run_bytes_ += bytes;
  }

  /// Clusters that follow each other on the disk are written at once.
  void add_compressed(std::uint64_t offset, const GuestCluster& cluster) {
    if (run_bytes_ > 0 || offset != held_offset_ + held_ || held_ + cluster_ > buffer_.size()) flush();
    if (held_ == 0) held_offset_ = offset;
    if (compressed_.size() < cluster.compressed_bytes) compressed_.resize(cluster.compressed_bytes);
    if (!decompressor_) decompressor_.emplace(static_cast<Compression>(header_.compression_type));
    source_.read(cluster.offset, compressed_.data(), cluster.compressed_bytes);
    decompressor_->run(compressed_.data(), cluster.compressed_bytes, buffer_.data() + held_, cluster_);
    held_ += cluster_;
  }

  void flush() {
    if (held_ > 0) write(held_offset_, held_);
    held_ = 0;
    const std::uint64_t end = clip(run_offset_, run_bytes_);
    for (std::uint64_t done = 0; done < end;) {
      const std::uint64_t bytes = std::min<std::uint64_t>(end - done, buffer_.size());
      source_.read(run_file_offset_ + done, buffer_.data(), bytes);
      write(run_offset_ + done, bytes);
      done += bytes;
    }
    run_bytes_ = 0;
  }

  void write(std::uint64_t offset, std::uint64_t bytes) {
    written_bytes_ += write_sparse(target_, buffer_.data(), clip(offset, bytes), offset, name_);
  }

  const SourceFile& source_;
  const Qcow2Header& header_;
  const Qcow2Map map_;
  const int target_;
  const std::string& name_;
  const std::uint64_t disk_bytes_;
  Units& units_;
  Cancellation& cancel_;
  const std::uint64_t cluster_;
  std::optional<Decompressor> decompressor_;
  std::vector<std::uint8_t> compressed_;
  /// Decompressed clusters that are not written yet, held_ bytes of it.
  std::vector<std::uint8_t> buffer_;
  std::uint64_t held_offset_ = 0;
  std::uint64_t held_ = 0;
  /// Plain data that is not read yet.
  std::uint64_t run_offset_ = 0;
  std::uint64_t run_file_offset_ = 0;
  std::uint64_t run_bytes_ = 0;
  std::uint64_t written_bytes_ = 0;
};

/// Runs the workers, the first on this thread, and throws what the first that failed threw.
void run_all(std::vector<std::unique_ptr<Worker>>& workers, Units& units) {
  std::mutex mutex;  // guards failure
  std::exception_ptr failure;
  const auto work = [&](Worker& worker) {
    try {
      worker.run();
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
}

unsigned thread_count(unsigned wanted) {
  if (wanted > 0) return std::min(wanted, kMaxThreads);
  return std::clamp(std::thread::hardware_concurrency(), 1U, kMaxThreads);
}

}  // namespace

ConvertResult convert_file(const SourceFile& source, int target, const std::string& name,
                           const ConvertOptions& options, Cancellation& cancel) {
  const ImageVerdict verdict = inspect_file(source, "qcow2", options.max_virtual_bytes, cancel);
  const Qcow2Header& header = *verdict.qcow2;
  ConvertResult result;
  result.bytes = verdict.virtual_size / kSectorBytes * kSectorBytes;
  truncate_to(target, result.bytes, name);

  const std::uint64_t unit =
      std::clamp<std::uint64_t>(kUnitBytes / header.cluster_size(), 1, header.l2_entries());
  Units units(Qcow2Map(source, header).clusters(), unit);
  std::vector<std::unique_ptr<Worker>> workers;
  for (unsigned i = 0; i < thread_count(options.threads); ++i) {
    workers.push_back(std::make_unique<Worker>(source, header, target, name, result.bytes, units, cancel));
  }
  run_all(workers, units);
  if (cancel.cancelled()) throw Cancelled();
  for (const auto& worker : workers) result.written_bytes += worker->written_bytes();
  if (options.sync) sync(target, name);
  return result;
}

ConvertResult convert_to_raw(const std::string& source, const std::string& target,
                             const ConvertOptions& options, Cancellation& cancel) {
  const SourceFile file(source);
  NewFile raw(target);
  const ConvertResult result = convert_file(file, raw.get(), target, options, cancel);
  raw.keep();
  return result;
}

}  // namespace node_compute
