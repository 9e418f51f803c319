// VLANs: 802.1Q sub-interfaces of the host's interfaces, ports of the bridges of their networks.
#pragma once

#include <string>

#include "network/netlink.h"

namespace node_compute {

struct VlanRequest {
  /// Of the sub-interface: `eth1.101`.
  std::string name;
  /// The interface that it is one of.
  std::string physical;
  /// 1 to 4094.
  unsigned id = 0;
  /// The bridge that it becomes a port of.
  std::string bridge;
  /// 0 takes that of the physical interface; more than that the kernel refuses.
  unsigned mtu = 0;
};

/// Makes the sub-interface, marked as ours as a bridge is, on its bridge and up, and brings the physical
/// interface up; false where it stood, and then it joins the bridge where it is no port. When several
/// processes do this at once, one makes it and all succeed. Throws InvalidArgument, SystemError (ENODEV,
/// EBUSY where it is a port of another bridge, EEXIST where the name or the VLAN is another link, EOPNOTSUPP
/// where the kernel has no 802.1Q).
bool ensure_vlan(const VlanRequest& request);

/// Success where there is none. Throws SystemError EINVAL for another kind of link.
void remove_vlan(const std::string& name);

/// On a socket that is open already, so that a test can be the kernel.
bool ensure_vlan(Netlink& netlink, const VlanRequest& request);

}  // namespace node_compute
