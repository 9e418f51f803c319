// What the kernel can do for networks, found out by trying it in a network namespace that ends with the
// attempt.
#pragma once

#include <optional>

namespace node_compute {

struct NetworkFeatures {
  bool bridge = false;
  /// 802.1Q sub-interfaces.
  bool vlan = false;
  /// A bridge that keeps the VLANs of its ports apart by itself.
  bool bridge_vlan_filtering = false;
};

/// Loads the kernel's modules as their first use would. Nothing where a namespace may not be made
/// (CAP_SYS_ADMIN). Some ten milliseconds. Throws SystemError.
std::optional<NetworkFeatures> probe_network_features();

}  // namespace node_compute
