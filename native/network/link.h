// Links of this host's network namespace: what a name is, and the removal of taps.
#pragma once

#include <linux/netlink.h>

#include <array>
#include <optional>
#include <string>

#include "network/netlink.h"

namespace node_compute {

struct Link {
  std::string name;
  /// `bridge`, `tun` (taps too), `veth` ...; "" for a device without a kind.
  std::string kind;
  int index = 0;
  unsigned mtu = 0;
  bool up = false;
  /// "" where it is no port.
  int master_index = 0;
  std::string master;
  std::string mac;
  std::string alias;
  /// Of a VLAN interface: the interface it is one of, and its VLAN.
  int parent_index = 0;
  unsigned vlan_id = 0;
};

/// Throws InvalidArgument for what Linux takes for no link name, and for a percent sign, which it expands.
void check_link_name(const std::string& name);

/// Nothing where there is no such link. Blocks for well under a millisecond; throws SystemError.
std::optional<Link> get_link(const std::string& name);

/// Removes a tap (or tun); success where there is none. Takes tens of
/// milliseconds: the kernel waits until no processor uses the link any more. Throws SystemError EINVAL for
/// another kind of link.
void remove_tap(const std::string& name);

/// The same for any kind.
void remove_link(const std::string& name, const std::string& kind);

/// For the other files of this directory: a look on a socket that is open already, without the master's
/// name.
std::optional<Link> find_link(Netlink& netlink, const std::string& name);
/// What a message of the kernel says of a link.
Link parse_link(nlmsghdr* header);
/// A locally administered address of one station.
std::array<unsigned char, 6> random_address();
/// False where it is gone.
bool delete_link(Netlink& netlink, const Link& link);

}  // namespace node_compute
