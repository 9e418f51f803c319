// Linux bridges for the taps of instances.
#pragma once

#include <string>
#include <vector>

namespace node_compute {

/// Link alias of a bridge that we made: by it a later process, and a person at `ip link`, know it as ours.
inline constexpr const char* kBridgeAlias = "node-compute";

/// Makes the bridge, without spanning tree and forward delay and without IPv6 of the host on it (a guest's
/// router advertisements must not configure the host), and brings it up. False where it stood: that is
/// brought up where it is down, and otherwise left as it is. `mtu` 0 leaves it to the kernel. When several
/// processes do this at once, one makes it and all succeed. Well under a millisecond. Throws InvalidArgument,
/// SystemError (EEXIST where the name is another kind of link, EPERM without CAP_NET_ADMIN).
bool ensure_bridge(const std::string& name, unsigned mtu);

/// False where the bridge has ports or is not there; EINVAL for another kind of link. Between the look at its
/// ports and the removal another process could add one, which would then be cut off: only remove what nobody
/// else uses.
bool remove_bridge(const std::string& name);

/// Names of its ports, sorted. Throws SystemError ENODEV where there is no such bridge, EINVAL for another
/// kind of link.
std::vector<std::string> list_bridge_ports(const std::string& name);

}  // namespace node_compute
