// Memory and vCPUs of a domain, changed while it runs.
#pragma once

#include <cstdint>

#include "libvirt/domain.h"

namespace node_compute {

// Each blocks, and throws LibvirtError or Closed.

/// virDomainSetMemoryFlags. Of a running domain it asks the guest's balloon and returns at once: what the
/// guest gave back stands in Domain::info().
void set_memory(Domain& domain, std::uint64_t kib, unsigned flags);
/// virDomainSetVcpusFlags. To take a vCPU from a running domain it asks the guest and waits for seconds; a
/// guest that says nothing is an error, though it may let go later.
void set_vcpus(Domain& domain, unsigned count, unsigned flags);

}  // namespace node_compute
