// The addon's functions on images: inspect, overlay, copy, download target, digest, publish.
#pragma once

#include <napi.h>

namespace node_compute {

void define_image_functions(Napi::Env env, Napi::Object exports);

}  // namespace node_compute
