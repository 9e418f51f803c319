// libvirt's lists of named values, copied.
#pragma once

#include <libvirt/libvirt.h>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace node_compute {

using Statistic = std::variant<std::int64_t, std::uint64_t, double, bool, std::string>;
/// By libvirt's names, `block.0.rd.bytes`, in libvirt's order.
using Statistics = std::vector<std::pair<std::string, Statistic>>;

Statistics copy_parameters(const virTypedParameter* parameters, int count);

}  // namespace node_compute
