#include "network/features.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sched.h>

#include <cstdint>
#include <exception>
#include <thread>

#include "executor/failure.h"
#include "executor/signals_blocked.h"
#include "network/link.h"
#include "network/netlink.h"

namespace node_compute {

namespace {

constexpr const char* kBridge = "br0";

bool make_bridge(Netlink& netlink) {
  LinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.text(IFLA_IFNAME, kBridge).nest(IFLA_LINKINFO, [](LinkMessage& info) {
    info.text(IFLA_INFO_KIND, "bridge");
  });
  return netlink.request(message) == 0;
}

/// Not at creation, which a kernel without it refuses.
bool filter_vlans(Netlink& netlink, const Link& bridge) {
  LinkMessage message(RTM_NEWLINK, 0, bridge.index);
  message.nest(IFLA_LINKINFO, [](LinkMessage& info) {
    info.text(IFLA_INFO_KIND, "bridge").nest(IFLA_INFO_DATA, [](LinkMessage& data) {
      data.byte(IFLA_BR_VLAN_FILTERING, 1);
    });
  });
  return netlink.request(message) == 0;
}

/// On the bridge, as lo takes no VLANs.
bool make_vlan(Netlink& netlink, const Link& physical) {
  LinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.text(IFLA_IFNAME, "vlan1").number(IFLA_LINK, static_cast<std::uint32_t>(physical.index));
  message.nest(IFLA_LINKINFO, [](LinkMessage& info) {
    info.text(IFLA_INFO_KIND, "vlan").nest(IFLA_INFO_DATA, [](LinkMessage& data) {
      data.half(IFLA_VLAN_ID, 1);
    });
  });
  return netlink.request(message) == 0;
}

NetworkFeatures probe() {
  Netlink netlink;
  NetworkFeatures features;
  features.bridge = make_bridge(netlink);
  const auto bridge = find_link(netlink, kBridge);
  if (!bridge) return features;
  features.bridge_vlan_filtering = filter_vlans(netlink, *bridge);
  features.vlan = make_vlan(netlink, *bridge);
  return features;
}

}  // namespace

std::optional<NetworkFeatures> probe_network_features() {
  std::optional<NetworkFeatures> features;
  std::exception_ptr failure;
  const SignalsBlocked blocked;
  // Namespaces belong to threads: the calling one stays where it is.
  std::thread([&] {
    if (unshare(CLONE_NEWNET) != 0) return;
    try {
      features = probe();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  return features;
}

}  // namespace node_compute
