#include "libvirt/statistics.h"

#include <array>
#include <memory>

#include "libvirt/error.h"

namespace node_compute {

namespace {

struct FreeRecords {
  void operator()(virDomainStatsRecordPtr* records) const noexcept { virDomainStatsRecordListFree(records); }
};

}  // namespace

Statistics statistics(Domain& domain, unsigned groups) {
  return domain.with([groups](virDomainPtr handle) {
    std::array<virDomainPtr, 2> domains{handle, nullptr};
    virDomainStatsRecordPtr* raw = nullptr;
    const int count = virDomainListGetStats(domains.data(), groups, &raw, 0);
    if (count < 0) throw LibvirtError::last("virDomainListGetStats");
    const std::unique_ptr<virDomainStatsRecordPtr, FreeRecords> records(raw);
    if (count == 0) return Statistics{};
    const virDomainStatsRecord& record = **records;
    return copy_parameters(record.params, record.nparams);
  });
}

}  // namespace node_compute
