#include "libvirt/domain_size.h"

#include "libvirt/error.h"

namespace node_compute {

void set_memory(Domain& domain, std::uint64_t kib, unsigned flags) {
  domain.with([=](virDomainPtr handle) {
    if (virDomainSetMemoryFlags(handle, kib, flags) < 0) throw LibvirtError::last("virDomainSetMemoryFlags");
  });
}

void set_vcpus(Domain& domain, unsigned count, unsigned flags) {
  domain.with([=](virDomainPtr handle) {
    if (virDomainSetVcpusFlags(handle, count, flags) < 0) throw LibvirtError::last("virDomainSetVcpusFlags");
  });
}

}  // namespace node_compute
