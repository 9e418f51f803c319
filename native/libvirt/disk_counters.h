// What guests read and wrote, asked of all QEMUs at once: one that does not answer is passed over, and costs
// the others nothing.
#pragma once

#include <libvirt/libvirt.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
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

/**
 * A connection to a daemon for these questions alone; null where libvirt is in this process. A QEMU that
 * hangs keeps a call on it, which takes one of the five that a daemon has for a client at a time, and it
 * waits at the socket for all others: libvirt before 10.0 does not see a call that comes just as it begins to
 * wait, and neither sends it before the next one comes, or an answer. So who shares a connection with a call
 * that hangs may wait for ever; one with such a call is given up for another.
 */
using DiskLine = std::shared_ptr<virConnect>;

/// Null where the daemon has no ear for us.
DiskLine open_disk_line(const std::string& uri);

/// A domain that can be asked; shared with the thread that asks, which may wait for a hung QEMU for ever.
struct DiskSource {
  explicit DiskSource(DomainHandle handle) : domain(std::move(handle)) {}

  const DomainHandle domain;
  /// A question is under way: there is no sense in a second. Whoever has set it may use what is below.
  std::atomic<bool> asked = false;
  DiskLine line;
  DomainHandle on_line;
};

struct DiskAnswers {
  /// One for each source, nothing for one that did not answer or is being asked since before.
  std::vector<std::optional<DiskCounters>> counters;
  bool hangs = false;  ///< a question of these is under way still, on this line
};

/**
 * Asks by virDomainBlockStats of all disks at once, one question to QEMU where the bulk call asks three, on
 * threads that end with it. Returns when all have answered, or when none has for two seconds; a thread whose
 * QEMU hangs then stays behind until that QEMU goes on or ends, one for each such domain at most.
 */
DiskAnswers ask_disk_counters(const std::vector<std::shared_ptr<DiskSource>>& sources, std::size_t threads,
                              const DiskLine& line);

}  // namespace node_compute
