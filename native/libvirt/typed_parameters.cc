#include "libvirt/typed_parameters.h"

namespace node_compute {

namespace {

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

Statistics copy_parameters(const virTypedParameter* parameters, int count) {
  Statistics result;
  for (int i = 0; i < count; ++i) {
    const virTypedParameter& parameter = parameters[i];
    result.emplace_back(static_cast<const char*>(parameter.field), value_of(parameter));
  }
  return result;
}

}  // namespace node_compute
