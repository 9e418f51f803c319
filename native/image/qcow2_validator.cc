#include "image/qcow2_validator.h"

#include <algorithm>
#include <bit>
#include <string>

#include "image/byte_order.h"
#include "image/cluster_map.h"
#include "image/image_error.h"
#include "image/luks_header.h"
#include "image/qcow2_format.h"
#include "image/qcow2_refcount_check.h"
#include "image/qcow2_table_check.h"
#include "image/table_reader.h"

namespace node_compute {

namespace {

using namespace qcow2;

std::string at(std::uint64_t offset) { return " at offset " + std::to_string(offset); }

class Validator {
 public:
  Validator(const SourceFile& file, const Qcow2Header& header, std::uint64_t window,
            const Cancellation& cancel)
      : file_(file),
        header_(header),
        cancel_(cancel),
        cluster_(header.cluster_size()),
        map_(divide_up(file.size(), header.cluster_size()), window),
        tables_(file, header, map_, cancel) {}

  std::uint64_t run() {
    if (!map_.has_one_window()) each_window([this] { tables_.mark(); });
    each_window([this] {
      // Tables first, so that data over a table is found wherever the table stands in the file.
      tables_.mark();
      tables_.check_bitmaps();
      check_l2_tables();
      tables_.check_snapshots();
      // A dirty image's counts are stale (lazy refcounts): QEMU makes them anew before it goes by them.
      if (!header_.dirty()) check_refcounts(file_, header_, map_, cancel_);
    });
    // Preallocated clusters are holes in the file and stay holes in what is converted.
    const std::uint64_t bytes = std::min(plain_bytes_, file_.allocated()) + multiplied_bytes_;
    return std::min(bytes, header_.virtual_size);
  }

 private:
  template <class Work>
  void each_window(Work work) {
    map_.rewind();
    do {
      work();
    } while (map_.advance());
  }

  template <class Visit>
  void each_stored(std::uint64_t offset, std::uint64_t entries, Visit visit) const {
    each_stored_number<std::uint64_t, load_be<std::uint64_t>>(file_, offset, entries, cancel_, visit);
  }

  void check_l2_tables() {
    const std::uint64_t entries = header_.l2_entries();
    const std::uint64_t words = header_.l2_entry_bytes() / 8;
    each_stored(header_.l1_offset, header_.l1_entries, [&](std::uint64_t l1_index, std::uint64_t l1_entry) {
      const std::uint64_t table = l1_entry & kOffsetMask;
      if (table == 0) return;
      std::uint64_t entry = 0;
      each_stored(table, entries * words, [&](std::uint64_t index, std::uint64_t word) {
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
    if (!map_.covers(offset / cluster_)) return;
    (mark_data(offset / cluster_, (entry & kCopied) != 0) ? plain_bytes_ : multiplied_bytes_) += bytes;
  }

  void check_compressed(std::uint64_t entry, std::uint64_t bitmap) {
    if ((entry & kCopied) != 0 || bitmap != 0)
      refuse("l2-entry", "a compressed cluster has impossible flags");
    const auto [offset, bytes] = check_compressed_place(file_, header_, entry);
    const std::uint64_t first = offset / cluster_;
    const std::uint64_t last = std::min((offset + bytes - 1) / cluster_, map_.clusters() - 1);
    if (map_.covers(first)) multiplied_bytes_ += cluster_;
    for (std::uint64_t cluster = first; cluster <= last; ++cluster) {
      if (map_.covers(cluster)) mark_compressed(cluster);
    }
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
  Qcow2TableCheck tables_;
  std::uint64_t plain_bytes_ = 0;
  /// Guest bytes that take less room in the file than out of it.
  std::uint64_t multiplied_bytes_ = 0;
};

}  // namespace

Qcow2Facts validate_qcow2(const SourceFile& file, const Qcow2Rules& rules, const Cancellation& cancel,
                          std::uint64_t window) {
  Qcow2Facts facts;
  facts.header = read_qcow2_header(file);
  check_qcow2_header(facts.header, rules);
  if (rules.luks) check_luks_header(file, facts.header.luks_offset, facts.header.luks_bytes);
  facts.data_bytes = Validator(file, facts.header, window, cancel).run();
  return facts;
}

}  // namespace node_compute
