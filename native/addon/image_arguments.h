// Arguments and results that several functions on images have.
#pragma once

#include <napi.h>

#include <cstdint>
#include <vector>

#include "addon/arguments.h"
#include "image/convert.h"
#include "image/disk.h"

namespace node_compute {

/// `[{path, format}]`, from the top down.
inline std::vector<LayerName> to_layers(const Napi::Value& value) {
  if (!value.IsArray()) throw InvalidArgument("layers must be an array");
  const auto array = value.As<Napi::Array>();
  std::vector<LayerName> layers;
  for (std::uint32_t i = 0; i < array.Length(); ++i) {
    const Napi::Object layer = to_object(array.Get(i), "layers");
    layers.push_back({to_text(layer.Get("path"), "path"), to_text(layer.Get("format"), "format")});
  }
  return layers;
}

inline Napi::Value convert_result_to_js(Napi::Env env, const ConvertResult& converted) {
  const Napi::Object object = Napi::Object::New(env);
  object.Set("virtualSizeBytes", static_cast<double>(converted.virtual_bytes));
  object.Set("writtenBytes", static_cast<double>(converted.written_bytes));
  return object;
}

}  // namespace node_compute
