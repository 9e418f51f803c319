// The figures of one domain in one call: virDomainListGetStats.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "libvirt/domain.h"

namespace node_compute {

using Statistic = std::variant<std::int64_t, std::uint64_t, double, bool, std::string>;
/// By libvirt's names, `block.0.rd.bytes`, in libvirt's order.
using Statistics = std::vector<std::pair<std::string, Statistic>>;

/// `groups` are virDomainStatsTypes. Blocks: QEMU is asked. Throws LibvirtError or Closed.
Statistics statistics(Domain& domain, unsigned groups);

}  // namespace node_compute
