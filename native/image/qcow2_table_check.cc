#include "image/qcow2_table_check.h"

#include <algorithm>
#include <string>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/qcow2_bitmaps.h"
#include "image/qcow2_format.h"
#include "image/qcow2_snapshots.h"
#include "image/table_reader.h"

namespace node_compute {

using namespace qcow2;

namespace {

std::string at(std::uint64_t offset) { return " at offset " + std::to_string(offset); }

}  // namespace

CompressedExtent check_compressed_place(const SourceFile& file, const Qcow2Header& header,
                                        std::uint64_t l2_entry) {
  const CompressedExtent extent = header.compressed_extent(l2_entry);
  // The last sector of the last cluster may be cut: its rest is no part of the compressed stream.
  const std::uint64_t end_of_file = divide_up(file.size(), 512) * 512;
  if (extent.offset >= file.size() || extent.bytes > end_of_file - extent.offset) {
    refuse("outside-file", "compressed cluster" + at(extent.offset) + " is not inside the file");
  }
  return extent;
}

Qcow2TableCheck::Qcow2TableCheck(const SourceFile& file, const Qcow2Header& header, ClusterMap& map,
                                 const Cancellation& cancel)
    : file_(file), header_(header), map_(map), cancel_(cancel), cluster_(header.cluster_size()) {
  snapshot_l1_.reserve(header.snapshots);
}

template <class Visit>
void Qcow2TableCheck::each_stored(std::uint64_t offset, std::uint64_t entries, Visit visit) const {
  each_stored_number<std::uint64_t, load_be<std::uint64_t>>(file_, offset, entries, cancel_, visit);
}

void Qcow2TableCheck::check_cancelled() const {
  if (cancel_.cancelled()) throw Cancelled();
}

void Qcow2TableCheck::mark() {
  mark_table(0, std::min(cluster_, file_.size()), "header");
  mark_table(header_.luks_offset, header_.luks_bytes, "LUKS header");
  mark_refcounts();
  mark_snapshots();
  mark_table(header_.l1_offset, std::uint64_t{header_.l1_entries} * 8, "L1 table");
  mark_bitmaps();
  mark_l2_tables();
}

/// A table may end with the file inside its last cluster: qemu-img create leaves the L1 table like that.
void Qcow2TableCheck::mark_table(std::uint64_t offset, std::uint64_t bytes, const char* what,
                                 ClusterUse use) {
  if (bytes == 0) return;
  if (offset % cluster_ != 0) refuse("alignment", std::string(what) + at(offset) + " is not aligned");
  if (offset > file_.size() || bytes > file_.size() - offset) {
    refuse("outside-file", std::string(what) + at(offset) + " is not inside the file");
  }
  const std::uint64_t first = offset / cluster_;
  const std::uint64_t end = first + divide_up(bytes, cluster_);
  for (std::uint64_t cluster = first; cluster < end; ++cluster) {
    if (!map_.covers(cluster)) continue;
    if (map_.use(cluster) != ClusterUse::none) {
      refuse("overlap", std::string(what) + at(offset) + " lies over another table");
    }
    map_.set(cluster, use);
  }
}

void Qcow2TableCheck::mark_refcounts() {
  const std::uint64_t bytes = header_.refcount_table_clusters * cluster_;
  mark_table(header_.refcount_table_offset, bytes, "refcount table");
  each_stored(header_.refcount_table_offset, bytes / 8, [this](std::uint64_t, std::uint64_t entry) {
    if (entry == 0) return;
    if ((entry & kRefcountTableReserved) != 0) refuse("reserved-bits", "in a refcount table entry");
    mark_table(entry, cluster_, "refcount block");
  });
}

void Qcow2TableCheck::mark_snapshots() {
  snapshot_l1_.clear();
  const std::uint64_t bytes = each_snapshot(file_, header_, [this](const Qcow2Snapshot& snapshot) {
    check_cancelled();
    const std::uint64_t l1_bytes = std::uint64_t{snapshot.l1_entries} * 8;
    if (l1_bytes > kMaxL1Bytes) refuse("l1-table", "the L1 table of a snapshot is too large");
    snapshot_l1_.emplace_back(snapshot.l1_offset, snapshot.l1_entries);
  });
  if (bytes == 0) return;
  // The padding of the last entry need not be in the file.
  mark_table(header_.snapshots_offset, std::min(bytes, file_.size() - header_.snapshots_offset),
             "snapshot table");
  for (const auto& [l1_offset, entries] : snapshot_l1_) {
    mark_table(l1_offset, entries * 8, "L1 table of a snapshot");
  }
}

/// The directory says where each bitmap's own table is.
void Qcow2TableCheck::mark_bitmaps() {
  if (header_.bitmap_directory_bytes == 0) return;
  mark_table(header_.bitmap_directory_offset, header_.bitmap_directory_bytes, "bitmap directory");
  each_bitmap(file_, header_, [this](const Qcow2Bitmap& bitmap) {
    check_cancelled();
    mark_table(bitmap.table_offset, std::uint64_t{bitmap.table_entries} * 8, "bitmap table");
  });
}

void Qcow2TableCheck::mark_l2_tables() {
  each_stored(header_.l1_offset, header_.l1_entries, [this](std::uint64_t, std::uint64_t entry) {
    if ((entry & kL1Reserved) != 0) refuse("reserved-bits", "in an L1 entry");
    if ((entry & kOffsetMask) == 0) return;
    const bool copied = (entry & kCopied) != 0;
    mark_table(entry & kOffsetMask, cluster_, "L2 table",
               copied ? ClusterUse::copied_l2_table : ClusterUse::l2_table);
  });
}

/// qcow2 specification, "Bitmap table".
void Qcow2TableCheck::check_bitmaps() {
  if (header_.bitmap_directory_bytes == 0) return;
  each_bitmap(file_, header_, [this](const Qcow2Bitmap& bitmap) {
    each_stored(bitmap.table_offset, bitmap.table_entries, [this](std::uint64_t, std::uint64_t entry) {
      const std::uint64_t offset = entry & kOffsetMask;
      if ((entry & kBitmapReserved) != 0 || (offset != 0 && (entry & kBitmapAllOnes) != 0)) {
        refuse("reserved-bits", "in an entry of a bitmap table");
      }
      if (offset != 0) mark_table(offset, cluster_, "bitmap");
    });
  });
}

void Qcow2TableCheck::check_snapshots() {
  // Snapshots may have 128 GiB of L1 tables, in a file that takes no room.
  for (const auto& [offset, entries] : snapshot_l1_) {
    each_stored(offset, entries, [this](std::uint64_t, std::uint64_t entry) { check_snapshot_l2(entry); });
  }
}

/// A snapshot shares L2 tables with the active layer and with other snapshots.
void Qcow2TableCheck::check_snapshot_l2(std::uint64_t l1_entry) {
  if ((l1_entry & kL1Reserved) != 0) refuse("reserved-bits", "in an L1 entry of a snapshot");
  const std::uint64_t table = l1_entry & kOffsetMask;
  if (table == 0) return;
  if (table % cluster_ == 0 && table < file_.size()) {
    const std::uint64_t cluster = table / cluster_;
    if (!map_.covers(cluster)) return;
    const ClusterUse use = map_.use(cluster);
    if (use == ClusterUse::l2_table || use == ClusterUse::copied_l2_table) return;
  }
  mark_table(table, cluster_, "L2 table of a snapshot", ClusterUse::l2_table);
  const std::uint64_t words = header_.l2_entry_bytes() / 8;
  each_stored(table, header_.l2_entries() * words, [this, words](std::uint64_t index, std::uint64_t word) {
    if (index % words == 0) check_snapshot_cluster(word);
  });
}

void Qcow2TableCheck::check_snapshot_cluster(std::uint64_t entry) const {
  if ((entry & kCompressed) != 0) {
    check_compressed_place(file_, header_, entry);
    return;
  }
  const std::uint64_t offset = entry & kOffsetMask;
  if (offset % cluster_ != 0) refuse("alignment", "data cluster" + at(offset) + " is not aligned");
  // The file may end inside its last cluster.
  if (offset >= file_.size()) {
    refuse("outside-file", "data cluster" + at(offset) + " is not inside the file");
  }
}

}  // namespace node_compute
