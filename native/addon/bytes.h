// Bytes of the core as a Buffer, without a copy on the JavaScript thread.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace node_compute {

inline Napi::Value to_buffer(Napi::Env env, std::vector<std::uint8_t> bytes) {
  using Bytes = std::vector<std::uint8_t>;
  if (bytes.empty()) return Napi::Buffer<std::uint8_t>::New(env, 0);
  auto owned = std::make_unique<Bytes>(std::move(bytes));
  Bytes* const kept = owned.release();
  return Napi::Buffer<std::uint8_t>::NewOrCopy(
      env, kept->data(), kept->size(), [](Napi::BasicEnv, std::uint8_t*, Bytes* hint) { delete hint; }, kept);
}

}  // namespace node_compute
