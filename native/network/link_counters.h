// What went through the links of this host's network namespace: one read for all of them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace node_compute {

/// As the host counts: what it received of a tap is what the guest sent.
struct LinkCounters {
  std::uint64_t rx_bytes = 0;
  std::uint64_t rx_packets = 0;
  std::uint64_t rx_dropped = 0;
  std::uint64_t tx_bytes = 0;
  std::uint64_t tx_packets = 0;
  std::uint64_t tx_dropped = 0;
};
using LinkCountersByName = std::unordered_map<std::string, LinkCounters>;

/// Reads /proc/net/dev: a microsecond a link, where libvirt reads the whole of it once for each interface.
/// Throws SystemError.
LinkCountersByName read_link_counters();

/// `text` is what /proc/net/dev holds. Lines that are none are left out.
LinkCountersByName parse_link_counters(std::string_view text);

}  // namespace node_compute
