// The table of a qcow2 image's internal snapshots.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

struct Qcow2Snapshot {
  std::uint64_t l1_offset = 0;
  std::uint32_t l1_entries = 0;
  /// As they stand in the table: any bytes.
  std::string id;
  std::string name;
  std::uint32_t date_seconds = 0;
  std::uint32_t date_nanoseconds = 0;
  std::uint64_t vm_clock_nanoseconds = 0;
  std::uint64_t vm_state_bytes = 0;
  /// Nothing where the entry is too short for it: the snapshot then has the size that the disk has.
  std::optional<std::uint64_t> virtual_size;
  /// Nothing where the guest's instructions were not counted.
  std::optional<std::uint64_t> instructions;
};

/// Calls `visit` for each snapshot, in the order of the table; gives the table's bytes, the padding of its
/// last entry included. Refuses a table of impossible size, and one that leaves the file.
std::uint64_t each_snapshot(const SourceFile& file, const Qcow2Header& header,
                            const std::function<void(const Qcow2Snapshot&)>& visit);

}  // namespace node_compute
