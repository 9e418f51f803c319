// Ports of a bridge: an interface of the host joins and leaves, a tap is made on it.
#pragma once

#include <string>
#include <vector>

#include "network/link.h"
#include "network/netlink.h"

namespace node_compute {

/// Makes the interface a port of the bridge and brings it up; false where it was its port already. It is its
/// caller's affair whether the interface has addresses, which nothing answers for once it is a port. Throws
/// InvalidArgument, SystemError (ENODEV where either is missing, EBUSY where it is a port of another bridge).
bool add_bridge_port(const std::string& bridge, const std::string& port);

/// False where it is no port of that bridge, or not there.
bool remove_bridge_port(const std::string& bridge, const std::string& port);

struct TapsRequest {
  std::vector<std::string> names;
  std::string bridge;
  /// 0 leaves it to the kernel.
  unsigned mtu = 0;
  /// For guests with more than one queue: they open their tap once for each.
  bool multi_queue = false;
};

/// Makes taps that stay when nobody has them open, on their bridge and up; gives the names of those that were
/// made, without those that stood. Their addresses begin with fe, so that no bridge takes one for its own.
/// Where one fails those that were made go again. Some 250 microseconds each, all of them the kernel's.
/// Throws as add_bridge_port(); EEXIST where a name is another kind of link.
std::vector<std::string> ensure_taps(const TapsRequest& request);

/// IP addresses of the interface with their prefix, as "192.0.2.1/24", without those of IPv6 that every
/// interface gives itself (fe80::/10). Throws SystemError ENODEV.
std::vector<std::string> list_addresses(const std::string& name);

/// For the other files of this directory.
Link require_link(Netlink& netlink, const std::string& name);
/// As add_bridge_port(), of a link that was looked up.
bool join_bridge(Netlink& netlink, const Link& bridge, const Link& port);

}  // namespace node_compute
