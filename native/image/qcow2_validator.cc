#include "image/qcow2_validator.h"

#include <algorithm>
#include <bit>
#include <string>
#include <vector>

#include "executor/failure.h"
#include "image/byte_order.h"
#include "image/cluster_map.h"
#include "image/image_error.h"
#include "image/qcow2_bitmaps.h"
#include "image/qcow2_format.h"
#include "image/qcow2_refcount_check.h"
#include "image/qcow2_snapshots.h"
#include "image/raw_map.h"
#include "image/table_reader.h"

namespace node_compute {

namespace {

using namespace qcow2;

std::string at(std::uint64_t offset) { return " at offset " + std::to_string(offset); }

class Validator {
 public:
  Validator(const SourceFile& file, const Qcow2Header& header, const Cancellation& cancel)
      : file_(file),
        header_(header),
        cancel_(cancel),
        cluster_(header.cluster_size()),
        map_(divide_up(file.size(), header.cluster_size())) {}

  /// All tables first, so that data over a table is found wherever the table stands in the file.
  std::uint64_t run() {
    mark_table(0, std::min(cluster_, file_.size()), "header");
    mark_refcounts();
    mark_snapshots();
    mark_table(header_.l1_offset, std::uint64_t{header_.l1_entries} * 8, "L1 table");
    if (header_.bitmap_directory_bytes > 0) {
      mark_table(header_.bitmap_directory_offset, header_.bitmap_directory_bytes, "bitmap directory");
      check_bitmaps();
    }
    mark_l2_tables();
    check_l2_tables();
    for (const auto& [offset, entries] : snapshot_l1_) check_snapshot(offset, entries);
    // A dirty image's counts are stale (lazy refcounts): QEMU makes them anew before it goes by them.
    if (!header_.dirty()) check_refcounts(file_, header_, map_, cancel_);
    // Preallocated clusters are holes in the file and stay holes in what is converted.
    const std::uint64_t bytes = std::min(plain_bytes_, file_.allocated()) + multiplied_bytes_;
    return std::min(bytes, header_.virtual_size);
  }

 private:
  void check_cancelled() const {
    if (cancel_.cancelled()) throw Cancelled();
  }

  template <class Visit>
  void each_entry(std::uint64_t offset, std::uint64_t entries, Visit visit) const {
    each_number<std::uint64_t, load_be<std::uint64_t>>(file_, offset, entries, cancel_, visit);
  }

  /// A table may end with the file inside its last cluster: qemu-img create leaves the L1 table like that.
  void mark_table(std::uint64_t offset, std::uint64_t bytes, const char* what,
                  ClusterUse use = ClusterUse::table) {
    if (bytes == 0) return;
    if (offset % cluster_ != 0) refuse("alignment", std::string(what) + at(offset) + " is not aligned");
    if (offset > file_.size() || bytes > file_.size() - offset) {
      refuse("outside-file", std::string(what) + at(offset) + " is not inside the file");
    }
    const std::uint64_t first = offset / cluster_;
    const std::uint64_t end = first + divide_up(bytes, cluster_);
    for (std::uint64_t cluster = first; cluster < end; ++cluster) {
      if (map_.use(cluster) != ClusterUse::none) {
        refuse("overlap", std::string(what) + at(offset) + " lies over another table");
      }
      map_.set(cluster, use);
    }
  }

  void mark_refcounts() {
    const std::uint64_t bytes = header_.refcount_table_clusters * cluster_;
    mark_table(header_.refcount_table_offset, bytes, "refcount table");
    each_entry(header_.refcount_table_offset, bytes / 8, [this](std::uint64_t, std::uint64_t entry) {
      if (entry == 0) return;
      if ((entry & kRefcountTableReserved) != 0) refuse("reserved-bits", "in a refcount table entry");
      mark_table(entry, cluster_, "refcount block");
    });
  }

  void mark_snapshots() {
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
    for (const auto& [l1_offset, entries] : snapshot_l1_)
      mark_table(l1_offset, entries * 8, "L1 table of a snapshot");
  }

  /// The directory says where each bitmap's own table is.
  void check_bitmaps() const {
    each_bitmap(file_, header_, [this](const Qcow2Bitmap& bitmap) {
      check_cancelled();
      const std::uint64_t table = bitmap.table_offset;
      const std::uint64_t bytes = std::uint64_t{bitmap.table_entries} * 8;
      if (table == 0 || bytes == 0) refuse("bitmaps", "a bitmap has no table");
      if (table % cluster_ != 0) refuse("alignment", "bitmap table" + at(table) + " is not aligned");
      if (table > file_.size() || bytes > file_.size() - table) {
        refuse("outside-file", "bitmap table" + at(table) + " is not inside the file");
      }
    });
  }

  /// Holes are entries of 0. Snapshots may have 128 GiB of L1 tables, in a file that takes no room.
  void check_snapshot(std::uint64_t l1_offset, std::uint64_t l1_entries) {
    Extents extents;
    RawMap(file_).read(l1_offset, l1_entries * 8, extents);
    for (const Extent& extent : extents) {
      if (extent.kind == Extent::Kind::data) check_snapshot_tables(extent.offset, extent.bytes / 8);
    }
  }

  /// A snapshot shares L2 tables with the active layer and with other snapshots. Each is looked at once,
  /// however often it is named: time stays bounded by the file. Nothing converts a snapshot, so that its
  /// clusters only have to be in the file.
  void check_snapshot_tables(std::uint64_t offset, std::uint64_t entries) {
    each_entry(offset, entries, [this](std::uint64_t, std::uint64_t entry) {
      if ((entry & kL1Reserved) != 0) refuse("reserved-bits", "in an L1 entry of a snapshot");
      const std::uint64_t table = entry & kOffsetMask;
      if (table == 0) return;
      if (table % cluster_ == 0 && table < file_.size() && is_l2_table(table / cluster_)) return;
      mark_table(table, cluster_, "L2 table of a snapshot", ClusterUse::l2_table);
      const std::uint64_t words = header_.l2_entry_bytes() / 8;
      each_entry(table, header_.l2_entries() * words, [this, words](std::uint64_t index, std::uint64_t word) {
        if (index % words == 0) check_snapshot_cluster(word);
      });
    });
  }

  bool is_l2_table(std::uint64_t cluster) const {
    return map_.use(cluster) == ClusterUse::l2_table || map_.use(cluster) == ClusterUse::copied_l2_table;
  }

  void check_snapshot_cluster(std::uint64_t entry) const {
    if ((entry & kCompressed) != 0) {
      check_compressed_place(entry);
      return;
    }
    const std::uint64_t offset = entry & kOffsetMask;
    if (offset % cluster_ != 0) refuse("alignment", "data cluster" + at(offset) + " is not aligned");
    // The file may end inside its last cluster.
    if (offset >= file_.size())
      refuse("outside-file", "data cluster" + at(offset) + " is not inside the file");
  }

  /// Each L2 table has one place in the active L1 table. Without that rule a small file could make every
  /// later walk take time without end by naming one table millions of times.
  void mark_l2_tables() {
    each_entry(header_.l1_offset, header_.l1_entries, [this](std::uint64_t, std::uint64_t entry) {
      if ((entry & kL1Reserved) != 0) refuse("reserved-bits", "in an L1 entry");
      if ((entry & kOffsetMask) == 0) return;
      const bool copied = (entry & kCopied) != 0;
      mark_table(entry & kOffsetMask, cluster_, "L2 table",
                 copied ? ClusterUse::copied_l2_table : ClusterUse::l2_table);
    });
  }

  void check_l2_tables() {
    const std::uint64_t entries = header_.l2_entries();
    const std::uint64_t words = header_.l2_entry_bytes() / 8;
    each_entry(header_.l1_offset, header_.l1_entries, [&](std::uint64_t l1_index, std::uint64_t l1_entry) {
      const std::uint64_t table = l1_entry & kOffsetMask;
      if (table == 0) return;
      std::uint64_t entry = 0;
      each_entry(table, entries * words, [&](std::uint64_t index, std::uint64_t word) {
        if (words == 1) return check_entry(l1_index * entries + index, word, 0);
        if (index % 2 == 0) {
          entry = word;
        } else {
          check_entry(l1_index * entries + index / 2, entry, word);
        }
      });
    });
  }

  /// `bitmap` is the second half of an extended entry, 0 for plain ones.
  void check_entry(std::uint64_t guest_cluster, std::uint64_t entry, std::uint64_t bitmap) {
    if ((entry & kCompressed) != 0) return check_compressed(entry, bitmap);
    const bool zero_flag_known = header_.version >= 3 && !header_.extended_l2();
    if ((entry & (kL2Reserved | (zero_flag_known ? 0 : kZero))) != 0) {
      refuse("reserved-bits", "in an L2 entry");
    }
    const std::uint64_t offset = entry & kOffsetMask;
    const auto allocated = static_cast<std::uint32_t>(bitmap);
    const auto zeroed = static_cast<std::uint32_t>(bitmap >> 32);
    if ((allocated & zeroed) != 0 || (offset == 0 && allocated != 0)) {
      refuse("l2-entry", "the subcluster bitmap of an L2 entry contradicts itself");
    }
    if (offset == 0) return;
    if (offset % cluster_ != 0) refuse("alignment", "data cluster" + at(offset) + " is not aligned");
    std::uint64_t used = 0;
    std::uint64_t bytes = 0;
    if (header_.extended_l2()) {
      used = (kSubclusters - static_cast<unsigned>(std::countl_zero(allocated))) * (cluster_ / kSubclusters);
      bytes = static_cast<unsigned>(std::popcount(allocated)) * (cluster_ / kSubclusters);
    } else if ((entry & kZero) == 0) {
      used = cluster_;
      bytes = cluster_;
    }
    // Beyond the end of the disk nothing is read, and the file may end there.
    const std::uint64_t guest_offset = guest_cluster * cluster_;
    const std::uint64_t rest = header_.virtual_size > guest_offset ? header_.virtual_size - guest_offset : 0;
    used = std::min(used, rest);
    if (offset >= file_.size() || used > file_.size() - offset) {
      refuse("outside-file", "data cluster" + at(offset) + " is not inside the file");
    }
    (mark_data(offset / cluster_, (entry & kCopied) != 0) ? plain_bytes_ : multiplied_bytes_) += bytes;
  }

  CompressedExtent check_compressed_place(std::uint64_t entry) const {
    const CompressedExtent extent = header_.compressed_extent(entry);
    // The last sector of the last cluster may be cut: its rest is no part of the compressed stream.
    const std::uint64_t end_of_file = divide_up(file_.size(), 512) * 512;
    if (extent.offset >= file_.size() || extent.bytes > end_of_file - extent.offset) {
      refuse("outside-file", "compressed cluster" + at(extent.offset) + " is not inside the file");
    }
    return extent;
  }

  void check_compressed(std::uint64_t entry, std::uint64_t bitmap) {
    if ((entry & kCopied) != 0 || bitmap != 0)
      refuse("l2-entry", "a compressed cluster has impossible flags");
    const auto [offset, bytes] = check_compressed_place(entry);
    multiplied_bytes_ += cluster_;
    const std::uint64_t last = std::min((offset + bytes - 1) / cluster_, map_.clusters() - 1);
    for (std::uint64_t cluster = offset / cluster_; cluster <= last; ++cluster) mark_compressed(cluster);
  }

  /// False where the cluster holds data of another place as well. Whether rightly, the refcounts say at the
  /// end; where they mean nothing, nothing may be shared, as QEMU itself never shares within one layer.
  bool mark_data(std::uint64_t cluster, bool copied) {
    const ClusterUse use = map_.use(cluster);
    if (use == ClusterUse::none) {
      map_.set(cluster, copied ? ClusterUse::copied_data : ClusterUse::data);
      return true;
    }
    refuse_over_table(cluster);
    if (copied || use == ClusterUse::copied_data || header_.dirty()) refuse_sharing(cluster);
    map_.add_use(cluster, ClusterUse::data);
    return false;
  }

  /// Several compressed clusters usually share one cluster of the file.
  void mark_compressed(std::uint64_t cluster) {
    const ClusterUse use = map_.use(cluster);
    if (use == ClusterUse::none) return map_.set(cluster, ClusterUse::compressed);
    refuse_over_table(cluster);
    if (use == ClusterUse::copied_data || (use == ClusterUse::data && header_.dirty())) {
      refuse_sharing(cluster);
    }
    map_.add_use(cluster, use);
  }

  void refuse_over_table(std::uint64_t cluster) const {
    if (map_.is_table(cluster)) {
      refuse("overlap", "data" + at(cluster * cluster_) + " lies over a table of the image");
    }
  }

  [[noreturn]] void refuse_sharing(std::uint64_t cluster) const {
    refuse("shared-cluster", "data cluster" + at(cluster * cluster_) +
                                 " is used twice and the image does not count it as shared");
  }

  const SourceFile& file_;
  const Qcow2Header& header_;
  const Cancellation& cancel_;
  const std::uint64_t cluster_;
  ClusterMap map_;
  /// Place and entries of the snapshots' L1 tables.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> snapshot_l1_;
  std::uint64_t plain_bytes_ = 0;
  /// Guest bytes that take less room in the file than out of it.
  std::uint64_t multiplied_bytes_ = 0;
};

}  // namespace

Qcow2Facts validate_qcow2(const SourceFile& file, const Qcow2Rules& rules, const Cancellation& cancel) {
  Qcow2Facts facts;
  facts.header = read_qcow2_header(file);
  check_qcow2_header(facts.header, rules);
  facts.data_bytes = Validator(file, facts.header, cancel).run();
  return facts;
}

}  // namespace node_compute
