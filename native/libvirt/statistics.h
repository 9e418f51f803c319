// The figures of one domain in one call: virDomainListGetStats.
#pragma once

#include "libvirt/domain.h"
#include "libvirt/typed_parameters.h"

namespace node_compute {

/// `groups` are virDomainStatsTypes. Blocks: QEMU is asked. Throws LibvirtError or Closed.
Statistics statistics(Domain& domain, unsigned groups);

}  // namespace node_compute
