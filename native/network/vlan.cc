#include "network/vlan.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>

#include <cerrno>

#include "executor/failure.h"
#include "network/bridge.h"
#include "network/bridge_port.h"
#include "network/link.h"

namespace node_compute {

namespace {

constexpr unsigned kLargestId = 4094;
constexpr int kMostAttempts = 8;

int create(Netlink& netlink, const VlanRequest& request, const Link& physical) {
  LinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.text(IFLA_IFNAME, request.name).number(IFLA_LINK, static_cast<std::uint32_t>(physical.index));
  if (request.mtu != 0) message.number(IFLA_MTU, request.mtu);
  message.nest(IFLA_LINKINFO, [&](LinkMessage& info) {
    info.text(IFLA_INFO_KIND, "vlan").nest(IFLA_INFO_DATA, [&](LinkMessage& data) {
      data.half(IFLA_VLAN_ID, static_cast<std::uint16_t>(request.id));
    });
  });
  return netlink.request(message);
}

/// Mark, bridge and up in one request: it is ours before it carries a frame.
int finish(Netlink& netlink, const Link& made, const Link& bridge) {
  LinkMessage message(RTM_NEWLINK, 0, made.index);
  message.text(IFLA_IFALIAS, kBridgeAlias).number(IFLA_MASTER, static_cast<std::uint32_t>(bridge.index));
  return netlink.request(message.up());
}

void check_same(const Link& standing, const VlanRequest& request, const Link& physical) {
  if (standing.kind == "vlan" && standing.parent_index == physical.index && standing.vlan_id == request.id)
    return;
  throw SystemError(EEXIST, "not VLAN " + std::to_string(request.id) + " of " + request.physical + ":",
                    request.name);
}

void bring_up(Netlink& netlink, const Link& link) {
  if (link.up) return;
  const int error = netlink.request(LinkMessage(RTM_NEWLINK, 0, link.index).up());
  if (error != 0) throw SystemError(error, "cannot bring up", link.name);
}

}  // namespace

bool ensure_vlan(const VlanRequest& request) {
  Netlink netlink;
  return ensure_vlan(netlink, request);
}

bool ensure_vlan(Netlink& netlink, const VlanRequest& request) {
  for (const std::string& name : {request.name, request.physical, request.bridge}) check_link_name(name);
  if (request.id < 1 || request.id > kLargestId) {
    throw InvalidArgument("a VLAN is numbered from 1 to 4094, not " + std::to_string(request.id));
  }
  const Link physical = require_link(netlink, request.physical);
  const Link bridge = require_link(netlink, request.bridge);
  // A sub-interface of one that is down cannot be brought up.
  bring_up(netlink, physical);
  for (int attempt = 0; attempt < kMostAttempts; ++attempt) {
    if (const auto standing = find_link(netlink, request.name)) {
      check_same(*standing, request, physical);
      join_bridge(netlink, bridge, *standing);
      return false;
    }
    const int refused = create(netlink, request, physical);
    if (refused == EEXIST) continue;
    if (refused != 0) throw SystemError(refused, "cannot make the VLAN interface", request.name);
    const auto made = find_link(netlink, request.name);
    if (!made) continue;
    const int error = finish(netlink, *made, bridge);
    if (error == 0) return true;
    delete_link(netlink, *made);
    throw SystemError(error, "cannot configure the VLAN interface", request.name);
  }
  // One interface has one sub-interface for each VLAN, whatever its name.
  throw SystemError(EEXIST,
                    "another link is VLAN " + std::to_string(request.id) + " of " + request.physical +
                        " already, so cannot make",
                    request.name);
}

void remove_vlan(const std::string& name) { remove_link(name, "vlan"); }

}  // namespace node_compute
