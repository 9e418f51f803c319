#include "image/arriving_conversion.h"

#include <algorithm>
#include <exception>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/convert_raw.h"
#include "image/parallel.h"
#include "image/qcow2_format.h"
#include "image/table_reader.h"

namespace node_compute {

using namespace qcow2;

namespace {

/// The largest cluster: header, extensions and backing name are within the first.
constexpr std::uint64_t kHeaderBytes = 2 << 20;
constexpr std::uint64_t kSectorBytes = 512;
// Bounds of memory; of an image that needs more, more is left to finish(). 2 MiB of tables, 8 MiB of bits,
// some 14 MiB of extents.
constexpr std::uint64_t kMostTables = 128 << 10;
constexpr std::uint64_t kMostClusters = 64 << 20;
constexpr std::size_t kMostPending = 256 << 10;
/// Guest bytes between two looks at the cancellation, and what a thread takes at once.
constexpr std::uint64_t kSliceBytes = 16 << 20;
constexpr std::size_t kExtentsAtOnce = 16;
/// No less than a cluster.
constexpr std::uint64_t kPieceBytes = 2 << 20;

std::uint64_t file_end(const Extent& extent) {
  return extent.file_offset +
         (extent.kind == Extent::Kind::compressed ? extent.compressed_bytes : extent.bytes);
}

}  // namespace

ArrivingConversion::ArrivingConversion(std::string source, const std::string& target,
                                       const ArrivingOptions& options)
    : source_(std::move(source)), options_(options), target_(target) {}

void ArrivingConversion::advance(std::uint64_t arrived, const Cancellation& cancel) {
  const std::lock_guard lock(mutex_);
  if (!target_) throw Closed("the conversion of " + source_ + " is over");
  if (given_up_) return;
  try {
    if (!disk_ && !open(arrived, cancel)) return;
    read_tables(arrived);
    place(arrived, cancel);
  } catch (const Cancelled&) {
    throw;
  } catch (const std::exception&) {
    give_up();
  }
}

bool ArrivingConversion::open(std::uint64_t arrived, const Cancellation& cancel) {
  if (arrived < std::min(kHeaderBytes, options_.image_bytes)) return false;
  SourceFile file(source_);
  const Qcow2Header header = read_qcow2_header(file);
  virtual_bytes_ = header.virtual_size;
  check_qcow2_header(header, {options_.max_virtual_bytes, false});
  const std::uint64_t span = header.l2_entries() << header.cluster_bits;
  const std::uint64_t tables = divide_up(header.virtual_size, span);
  // A set of clusters cannot tell what is there of one; and QEMU rounds a disk down to whole sectors.
  if (header.extended_l2() || header.virtual_size < kSectorBytes || file.size() != options_.image_bytes ||
      tables > kMostTables || header.virtual_size >> header.cluster_bits > kMostClusters) {
    given_up_ = true;
    return false;
  }
  if (arrived < header.l1_offset || arrived - header.l1_offset < tables * 8) return false;
  each_number<std::uint64_t, load_be>(file, header.l1_offset, tables, cancel,
                                      [&](std::uint64_t index, std::uint64_t entry) {
                                        const std::uint64_t table = entry & kOffsetMask;
                                        if (table != 0) tables_.push_back({table, index});
                                      });
  std::sort(tables_.begin(), tables_.end(),
            [](const Table& a, const Table& b) { return a.offset < b.offset; });
  std::vector<Layer> layers;
  layers.push_back({std::move(file), header});
  disk_.emplace(std::move(layers));
  placed_.emplace(disk_->size(), header.cluster_bits);
  for (unsigned i = 0; i < conversion_threads(options_.threads); ++i) {
    writers_.push_back(std::make_unique<RawWriter>(*disk_, target_->get(), target_->path(), reflinks_));
  }
  return true;
}

void ArrivingConversion::read_tables(std::uint64_t arrived) {
  const Qcow2Header& header = *disk_->layer(0).qcow2;
  const std::uint64_t span = header.l2_entries() << header.cluster_bits;
  for (; tables_read_ < tables_.size() && pending_.size() < kMostPending; ++tables_read_) {
    const Table& table = tables_[tables_read_];
    if (table.offset > arrived || arrived - table.offset < header.cluster_size()) return;
    for (const Extent& extent : disk_->map(table.index * span, span)) {
      if (!extent.reads_as_zeros()) add(extent);
    }
  }
}

/// In pieces: the start of a long extent need not wait for its end.
void ArrivingConversion::add(Extent extent) {
  while (extent.bytes > kPieceBytes) {
    pending_.push_back(extent);
    pending_.back().bytes = kPieceBytes;
    extent.offset += kPieceBytes;
    extent.file_offset += kPieceBytes;
    extent.bytes -= kPieceBytes;
  }
  pending_.push_back(extent);
}

void ArrivingConversion::place(std::uint64_t arrived, const Cancellation& cancel) {
  const auto first = std::partition(pending_.begin(), pending_.end(),
                                    [arrived](const Extent& extent) { return file_end(extent) > arrived; });
  // Neighbours on the disk are written at once.
  std::sort(first, pending_.end(), [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
  for (auto slice = first; slice != pending_.end();) {
    if (cancel.cancelled()) throw Cancelled();
    std::uint64_t bytes = 0;
    auto end = slice;
    while (end != pending_.end() && bytes < kSliceBytes) bytes += (end++)->bytes;
    if (bytes > options_.max_early_bytes - placed_bytes_) return give_up();
    placed_bytes_ += bytes;
    place_slice(&*slice, static_cast<std::size_t>(end - slice));
    slice = end;
  }
  pending_.erase(first, pending_.end());
  start_writeback(target_->get(), 0, 0);
}

void ArrivingConversion::place_slice(const Extent* first, std::size_t count) {
  std::atomic<std::size_t> next{0};
  in_parallel(writers_.size(), [&](std::size_t number) {
    const std::size_t from = next.fetch_add(kExtentsAtOnce);
    if (from >= count) return false;
    RawWriter& writer = *writers_[number];
    for (std::size_t i = from; i < std::min(count, from + kExtentsAtOnce); ++i) writer.write(first[i]);
    writer.flush();
    return true;
  });
  for (std::size_t i = 0; i < count; ++i) placed_->add(first[i].offset, first[i].bytes);
}

/// What is placed stays: it is right, and known in placed_.
void ArrivingConversion::give_up() noexcept {
  given_up_ = true;
  pending_ = {};
  tables_ = {};
}

ConvertResult ArrivingConversion::finish(Cancellation& cancel) {
  const std::lock_guard lock(mutex_);
  if (!target_) throw Closed("the conversion of " + source_ + " is over");
  try {
    ConvertResult result;
    for (const auto& writer : writers_) result.written_bytes += writer->written_bytes();
    writers_.clear();
    give_up();
    const Disk disk = Disk::open({{source_, "qcow2"}}, options_.max_virtual_bytes, cancel);
    const RawOptions options{options_.threads, true, placed_ ? &*placed_ : nullptr};
    result.virtual_bytes = disk.size();
    result.written_bytes += convert_to_raw(disk, target_->get(), target_->path(), options, cancel);
    target_->keep();
    target_.reset();
    return result;
  } catch (...) {
    target_.reset();
    throw;
  }
}

void ArrivingConversion::abandon() noexcept {
  const std::lock_guard lock(mutex_);
  writers_.clear();
  give_up();
  target_.reset();
}

}  // namespace node_compute
