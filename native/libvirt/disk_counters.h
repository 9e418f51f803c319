// What guests read and wrote, asked of all QEMUs at once: one that does not answer is passed over, and costs
// the others nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "libvirt/handle.h"

namespace node_compute {

/// The sum over the disks of a domain, since its QEMU was started.
struct DiskCounters {
  std::uint64_t read_requests;
  std::uint64_t read_bytes;
  std::uint64_t write_requests;
  std::uint64_t write_bytes;
};

/// A domain that can be asked; shared with the thread that asks, which may wait for a hung QEMU for ever.
struct DiskSource {
  explicit DiskSource(DomainHandle handle) : domain(std::move(handle)) {}

  DomainHandle domain;
  /// A question is under way: there is no sense in a second.
  std::atomic<bool> asked = false;
};

/**
 * One answer for each source, nothing for one that did not answer or is being asked since before. Asks by
 * virDomainBlockStats of all disks at once, one question to QEMU where the bulk call asks three, on threads
 * that end with it. Returns when all have answered, or when none has for two seconds; a thread whose QEMU
 * hangs then stays behind until that QEMU goes on or ends, one for each such domain at most.
 */
std::vector<std::optional<DiskCounters>> ask_disk_counters(
    const std::vector<std::shared_ptr<DiskSource>>& sources, std::size_t threads);

}  // namespace node_compute
