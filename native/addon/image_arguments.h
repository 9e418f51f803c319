// Arguments that several functions on images take.
#pragma once

#include <napi.h>

#include <cstdint>
#include <vector>

#include "addon/arguments.h"
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

}  // namespace node_compute
