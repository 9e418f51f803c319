#include "network/bridge_port.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "executor/failure.h"
#include "storage/file_descriptor.h"

namespace node_compute {

namespace {

constexpr int kMostAttempts = 8;

Link require_bridge(Netlink& netlink, const std::string& name) {
  Link link = require_link(netlink, name);
  if (link.kind != "bridge") throw SystemError(EINVAL, "not a bridge:", name);
  return link;
}

/// The tap outlives the descriptor.
void make_tap(const std::string& name, bool multi_queue) {
  const FileDescriptor device(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (!device) throw SystemError(errno, "cannot open", "/dev/net/tun");
  ifreq wanted{};
  name.copy(wanted.ifr_name, IFNAMSIZ - 1);
  const int queues = multi_queue ? IFF_MULTI_QUEUE : 0;
  wanted.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | queues);
  if (ioctl(device.get(), TUNSETIFF, &wanted) != 0) throw SystemError(errno, "cannot make the tap", name);
  if (ioctl(device.get(), TUNSETPERSIST, 1) != 0) throw SystemError(errno, "cannot keep the tap", name);
}

int configure_tap(Netlink& netlink, const std::string& name, const Link& bridge, unsigned mtu) {
  auto address = random_address();
  address[0] = 0xfe;
  LinkMessage message(RTM_NEWLINK, 0);
  message.text(IFLA_IFNAME, name).bytes(IFLA_ADDRESS, address.data(), address.size());
  message.number(IFLA_MASTER, static_cast<std::uint32_t>(bridge.index));
  if (mtu != 0) message.number(IFLA_MTU, mtu);
  return netlink.request(message.up());
}

/// What it makes is in `made` as soon as it is there.
void ensure_tap(Netlink& netlink, const std::string& name, const Link& bridge, const TapsRequest& request,
                std::vector<std::string>& made) {
  if (const auto standing = find_link(netlink, name)) {
    if (standing->kind != "tun") throw SystemError(EEXIST, "not a tap:", name);
    join_bridge(netlink, bridge, *standing);
    return;
  }
  make_tap(name, request.multi_queue);
  made.push_back(name);
  const int error = configure_tap(netlink, name, bridge, request.mtu);
  if (error != 0) throw SystemError(error, "cannot configure the tap", name);
}

std::string address_of(nlmsghdr* header, int index) {
  const auto* const info = static_cast<const ifaddrmsg*>(nlmsg_data(header));
  if (header->nlmsg_type != RTM_NEWADDR || static_cast<int>(info->ifa_index) != index) return "";
  if (info->ifa_family == AF_INET6 && info->ifa_scope == RT_SCOPE_LINK) return "";
  // Of a point-to-point link IFA_ADDRESS is the other end's.
  const nlattr* attribute = nlmsg_find_attr(header, sizeof(ifaddrmsg), IFA_LOCAL);
  if (attribute == nullptr) attribute = nlmsg_find_attr(header, sizeof(ifaddrmsg), IFA_ADDRESS);
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (attribute == nullptr ||
      inet_ntop(info->ifa_family, nla_data(attribute), text.data(), text.size()) == nullptr) {
    return "";
  }
  return std::string(text.data()) + "/" + std::to_string(info->ifa_prefixlen);
}

}  // namespace

Link require_link(Netlink& netlink, const std::string& name) {
  auto link = find_link(netlink, name);
  if (!link) throw SystemError(ENODEV, "no such link:", name);
  return *link;
}

bool join_bridge(Netlink& netlink, const Link& bridge, const Link& port) {
  const bool joined = port.master_index == bridge.index;
  if (joined && port.up) return false;
  if (!joined && port.master_index != 0) {
    throw SystemError(EBUSY, "a port of something else, so no port of " + bridge.name + ":", port.name);
  }
  LinkMessage message(RTM_NEWLINK, 0, port.index);
  if (!joined) message.number(IFLA_MASTER, static_cast<std::uint32_t>(bridge.index));
  const int error = netlink.request(message.up());
  if (error != 0)
    throw SystemError(error, "cannot add to the bridge " + bridge.name + " the port", port.name);
  return !joined;
}

bool add_bridge_port(const std::string& bridge, const std::string& port) {
  check_link_name(bridge);
  check_link_name(port);
  Netlink netlink;
  return join_bridge(netlink, require_bridge(netlink, bridge), require_link(netlink, port));
}

bool remove_bridge_port(const std::string& bridge, const std::string& port) {
  check_link_name(bridge);
  check_link_name(port);
  Netlink netlink;
  const auto link = find_link(netlink, port);
  const auto master = find_link(netlink, bridge);
  if (!link || !master || link->master_index != master->index) return false;
  LinkMessage message(RTM_NEWLINK, 0, link->index);
  const int error = netlink.request(message.number(IFLA_MASTER, 0));
  if (error == ENODEV) return false;
  if (error != 0) throw SystemError(error, "cannot take from the bridge " + bridge + " the port", port);
  return true;
}

std::vector<std::string> ensure_taps(const TapsRequest& request) {
  check_link_name(request.bridge);
  for (const std::string& name : request.names) check_link_name(name);
  Netlink netlink;
  const Link bridge = require_bridge(netlink, request.bridge);
  std::vector<std::string> made;
  try {
    for (const std::string& name : request.names) ensure_tap(netlink, name, bridge, request, made);
  } catch (...) {
    for (const std::string& name : made) {
      if (const auto tap = find_link(netlink, name)) delete_link(netlink, *tap);
    }
    throw;
  }
  return made;
}

std::vector<std::string> list_addresses(const std::string& name) {
  check_link_name(name);
  Netlink netlink;
  const Link link = require_link(netlink, name);
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    std::vector<std::string> addresses;
    // The kernel reads no more of the header than the family, which is any.
    const bool whole = netlink.dump(LinkMessage(RTM_GETADDR, NLM_F_DUMP), [&](nlmsghdr* header) {
      if (std::string text = address_of(header, link.index); !text.empty()) addresses.push_back(text);
    });
    if (whole) return addresses;
  }
  throw SystemError(EAGAIN, "the addresses change too fast to list those of", name);
}

}  // namespace node_compute
