#include "network/bridge.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <optional>

#include "executor/failure.h"
#include "network/link.h"
#include "network/netlink.h"
#include "storage/file_descriptor.h"

namespace node_compute {

namespace {

/// IN6_ADDR_GEN_MODE_NONE, whose header clashes with netinet/in.h.
constexpr std::uint8_t kNoAddresses = 1;
/// Another process makes and removes the same bridge while we look.
constexpr int kMostAttempts = 8;

int create(Netlink& netlink, const std::string& name) {
  LinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.text(IFLA_IFNAME, name).nest(IFLA_LINKINFO, [](LinkMessage& info) {
    info.text(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, [](LinkMessage& data) {
      data.number(IFLA_BR_STP_STATE, 0).number(IFLA_BR_FORWARD_DELAY, 0);
    });
  });
  return netlink.request(message);
}

/// Best effort: /proc/sys may be read-only, and then the address mode below stops at least our own addresses.
void disable_ipv6(const std::string& name) {
  const std::string path = "/proc/sys/net/ipv6/conf/" + name + "/disable_ipv6";
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return;
  [[maybe_unused]] const ssize_t written = write(file.get(), "1", 1);
}

int configure(Netlink& netlink, const Link& bridge, unsigned mtu, bool with_ipv6) {
  // Of its own: without one a bridge takes the lowest of its ports', and the host's connections over it break
  // whenever an instance comes or goes.
  const auto address = random_address();
  LinkMessage message(RTM_NEWLINK, 0, bridge.index);
  message.text(IFLA_IFALIAS, kBridgeAlias).bytes(IFLA_ADDRESS, address.data(), address.size());
  // Not at creation: only an MTU set later is kept when ports with a smaller one join.
  if (mtu != 0) message.number(IFLA_MTU, mtu);
  if (with_ipv6) {
    message.nest(IFLA_AF_SPEC, [](LinkMessage& families) {
      families.nest(AF_INET6, [](LinkMessage& ipv6) { ipv6.byte(IFLA_INET6_ADDR_GEN_MODE, kNoAddresses); });
    });
  }
  return netlink.request(message);
}

int bring_up(Netlink& netlink, const Link& bridge) {
  return netlink.request(LinkMessage(RTM_NEWLINK, 0, bridge.index).up());
}

/// What is missing of a bridge that was just made. Returns 0 or errno.
int finish(Netlink& netlink, const Link& bridge, unsigned mtu) {
  disable_ipv6(bridge.name);
  int error = configure(netlink, bridge, mtu, true);
  // A kernel without IPv6.
  if (error == EAFNOSUPPORT) error = configure(netlink, bridge, mtu, false);
  return error == 0 ? bring_up(netlink, bridge) : error;
}

std::optional<Link> find_bridge(Netlink& netlink, const std::string& name, int otherwise) {
  auto link = find_link(netlink, name);
  if (link && link->kind != "bridge") {
    const std::string kind = link->kind.empty() ? "a device" : "a link of kind " + link->kind;
    throw SystemError(otherwise, "not a bridge but " + kind + ":", name);
  }
  return link;
}

std::vector<std::string> ports_of(Netlink& netlink, const Link& bridge) {
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    LinkMessage message(RTM_GETLINK, NLM_F_DUMP);
    const auto index = static_cast<std::uint32_t>(bridge.index);
    message.number(IFLA_MASTER, index).number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    std::vector<std::string> ports;
    const bool whole = netlink.dump(message, [&](nlmsghdr* header) {
      if (header->nlmsg_type != RTM_NEWLINK) return;
      // Checked again: a kernel without the filter sends every link.
      if (Link link = parse_link(header); link.master_index == bridge.index) ports.push_back(link.name);
    });
    if (!whole) continue;
    std::sort(ports.begin(), ports.end());
    return ports;
  }
  throw SystemError(EAGAIN, "the links change too fast to list the ports of", bridge.name);
}

}  // namespace

bool ensure_bridge(const std::string& name, unsigned mtu) {
  check_link_name(name);
  Netlink netlink;
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    if (const auto bridge = find_bridge(netlink, name, EEXIST)) {
      const int error = bridge->up ? 0 : bring_up(netlink, *bridge);
      if (error == ENODEV) continue;
      if (error != 0) throw SystemError(error, "cannot bring up the bridge", name);
      return false;
    }
    const int refused = create(netlink, name);
    if (refused == EEXIST) continue;
    if (refused != 0) throw SystemError(refused, "cannot make the bridge", name);
    const auto made = find_bridge(netlink, name, EEXIST);
    if (!made) continue;
    const int error = finish(netlink, *made, mtu);
    if (error == 0) return true;
    delete_link(netlink, *made);
    throw SystemError(error, "cannot configure the bridge", name);
  }
  throw SystemError(EAGAIN, "others make and remove the bridge", name);
}

bool remove_bridge(const std::string& name) {
  check_link_name(name);
  Netlink netlink;
  const auto bridge = find_bridge(netlink, name, EINVAL);
  return bridge && ports_of(netlink, *bridge).empty() && delete_link(netlink, *bridge);
}

std::vector<std::string> list_bridge_ports(const std::string& name) {
  check_link_name(name);
  Netlink netlink;
  const auto bridge = find_bridge(netlink, name, EINVAL);
  if (!bridge) throw SystemError(ENODEV, "no such bridge:", name);
  return ports_of(netlink, *bridge);
}

}  // namespace node_compute
