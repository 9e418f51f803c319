#include "image/convert_qcow2.h"

#include <algorithm>
#include <bit>
#include <memory>
#include <vector>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/compressor.h"
#include "image/disk_reader.h"
#include "image/image_io.h"
#include "image/parallel.h"
#include "image/qcow2_writer.h"
#include "image/units.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kLeastCluster = 4096;
constexpr std::uint64_t kMostCluster = 2 << 20;
/// Guest bytes read at once.
constexpr std::uint64_t kBufferBytes = 1 << 20;

class ClusterWriter : public UnitWorker {
 public:
  ClusterWriter(const Disk& disk, Qcow2Writer& writer, std::optional<Compression> compression)
      : disk_(disk),
        reader_(disk),
        writer_(writer),
        cluster_(writer.cluster_size()),
        buffer_(std::max(kBufferBytes, cluster_)) {
    if (!compression) return;
    compressor_.emplace(*compression);
    packed_.resize(buffer_.size() + cluster_);
  }

  void run(const Unit& unit) override {
    first_ = unit.offset / cluster_;
    entries_.assign(divide_up(unit.bytes, cluster_), 0);
    const auto wanted =
        clusters_with_data(disk_.map(unit.offset, unit.bytes), unit.offset, cluster_, entries_.size());
    for (std::uint64_t i = 0; i < wanted.size();) {
      std::uint64_t end = i;
      while (end < wanted.size() && wanted[end] && (end - i + 1) * cluster_ <= buffer_.size()) ++end;
      if (end > i) take(first_ + i, first_ + end);
      i = std::max(end, i + 1);
    }
    flush();
    writer_.map(first_, entries_);
  }

 private:
  /// Reads clusters that follow each other, and packs or writes those that are not zero.
  void take(std::uint64_t begin, std::uint64_t end) {
    const std::uint64_t offset = begin * cluster_;
    const std::uint64_t bytes = std::min(end * cluster_, disk_.size()) - offset;
    reader_.read(offset, buffer_.data(), bytes);
    // The disk may end inside its last cluster.
    std::fill(buffer_.begin() + static_cast<std::ptrdiff_t>(bytes),
              buffer_.begin() + static_cast<std::ptrdiff_t>((end - begin) * cluster_), std::uint8_t{0});
    std::uint64_t plain = 0;
    for (std::uint64_t cluster = begin; cluster < end; ++cluster) {
      const std::uint8_t* data = buffer_.data() + (cluster - begin) * cluster_;
      if (is_zero(data, cluster_) || pack(cluster, data)) {
        write_plain(cluster - plain, plain, data - plain * cluster_);
        plain = 0;
      } else {
        ++plain;
      }
    }
    write_plain(end - plain, plain, buffer_.data() + (end - begin - plain) * cluster_);
  }

  bool pack(std::uint64_t cluster, const std::uint8_t* data) {
    if (!compressor_) return false;
    if (packed_.size() - packed_bytes_ < cluster_) flush();
    const std::size_t bytes = compressor_->run(data, cluster_, packed_.data() + packed_bytes_, cluster_ - 1);
    if (bytes == 0) return false;
    sizes_.push_back(static_cast<std::uint32_t>(bytes));
    packed_clusters_.push_back(cluster);
    packed_bytes_ += bytes;
    return true;
  }

  void write_plain(std::uint64_t first, std::uint64_t clusters, const std::uint8_t* data) {
    if (clusters == 0) return;
    const std::uint64_t offset = writer_.claim_plain(clusters);
    writer_.write(offset, data, clusters * cluster_);
    for (std::uint64_t i = 0; i < clusters; ++i) {
      entries_[first + i - first_] = Qcow2Writer::plain_entry(offset + i * cluster_);
    }
  }

  void flush() {
    if (sizes_.empty()) return;
    std::uint64_t offset = writer_.claim_compressed(sizes_);
    writer_.write(offset, packed_.data(), packed_bytes_);
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      entries_[packed_clusters_[i] - first_] = writer_.compressed_entry(offset, sizes_[i]);
      offset += sizes_[i];
    }
    sizes_.clear();
    packed_clusters_.clear();
    packed_bytes_ = 0;
  }

  const Disk& disk_;
  DiskReader reader_;
  Qcow2Writer& writer_;
  const std::uint64_t cluster_;
  std::optional<Compressor> compressor_;
  std::vector<std::uint8_t> buffer_;
  /// Compressed clusters that have no place yet, and which of the guest's they are.
  std::vector<std::uint8_t> packed_;
  std::uint64_t packed_bytes_ = 0;
  std::vector<std::uint32_t> sizes_;
  std::vector<std::uint64_t> packed_clusters_;
  /// Of the unit at hand, whose first cluster is first_.
  std::uint64_t first_ = 0;
  std::vector<std::uint64_t> entries_;
};

}  // namespace

std::uint64_t convert_to_qcow2(const Disk& disk, int target, const std::string& name,
                               std::optional<Compression> compression, std::uint64_t cluster_size,
                               unsigned threads, Cancellation& cancel) {
  if (!std::has_single_bit(cluster_size) || cluster_size < kLeastCluster || cluster_size > kMostCluster) {
    throw InvalidArgument("the cluster size must be a power of two from 4 KiB to 2 MiB, not " +
                          std::to_string(cluster_size));
  }
  Qcow2Writer writer(target, name, disk.size(), static_cast<unsigned>(std::countr_zero(cluster_size)),
                     compression.value_or(Compression::deflate));
  std::vector<std::unique_ptr<UnitWorker>> workers;
  for (unsigned i = 0; i < conversion_threads(threads); ++i) {
    workers.push_back(std::make_unique<ClusterWriter>(disk, writer, compression));
  }
  run_workers(disk, workers, cancel);
  return writer.finish();
}

}  // namespace node_compute
