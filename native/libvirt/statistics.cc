#include "libvirt/statistics.h"

#include <array>
#include <memory>

#include "libvirt/error.h"

namespace node_compute {

namespace {

struct FreeRecords {
  void operator()(virDomainStatsRecordPtr* records) const noexcept { virDomainStatsRecordListFree(records); }
};

Statistic value_of(const virTypedParameter& parameter) {
  switch (parameter.type) {
    case VIR_TYPED_PARAM_INT:
      return std::int64_t{parameter.value.i};
    case VIR_TYPED_PARAM_UINT:
      return std::uint64_t{parameter.value.ui};
    case VIR_TYPED_PARAM_LLONG:
      return std::int64_t{parameter.value.l};
    case VIR_TYPED_PARAM_ULLONG:
      return std::uint64_t{parameter.value.ul};
    case VIR_TYPED_PARAM_DOUBLE:
      return parameter.value.d;
    case VIR_TYPED_PARAM_BOOLEAN:
      return parameter.value.b != 0;
    case VIR_TYPED_PARAM_STRING:
      return std::string(parameter.value.s == nullptr ? "" : parameter.value.s);
    default:
      return false;
  }
}

}  // namespace

Statistics statistics(Domain& domain, unsigned groups) {
  return domain.with([groups](virDomainPtr handle) {
    std::array<virDomainPtr, 2> domains{handle, nullptr};
    virDomainStatsRecordPtr* raw = nullptr;
    const int count = virDomainListGetStats(domains.data(), groups, &raw, 0);
    if (count < 0) throw LibvirtError::last("virDomainListGetStats");
    const std::unique_ptr<virDomainStatsRecordPtr, FreeRecords> records(raw);
    Statistics result;
    if (count == 0) return result;
    const virDomainStatsRecord& record = **records;
    for (int i = 0; i < record.nparams; ++i) {
      const virTypedParameter& parameter = record.params[i];
      result.emplace_back(static_cast<const char*>(parameter.field), value_of(parameter));
    }
    return result;
  });
}

}  // namespace node_compute
