// libvirt's named values as an object: whole numbers are bigint.
#pragma once

#include <napi.h>

#include <type_traits>
#include <variant>

#include "libvirt/typed_parameters.h"

namespace node_compute {

inline Napi::Object statistics_to_js(Napi::Env env, const Statistics& statistics) {
  const Napi::Object result = Napi::Object::New(env);
  for (const auto& [name, statistic] : statistics) {
    std::visit(
        [&, &key = name](const auto& value) {
          using Value = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<Value, std::int64_t> || std::is_same_v<Value, std::uint64_t>) {
            result.Set(key, Napi::BigInt::New(env, value));
          } else {
            result.Set(key, value);
          }
        },
        statistic);
  }
  return result;
}

}  // namespace node_compute
