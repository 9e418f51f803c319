// What an image says of itself, with the names that qemu-img info --output=json gives it.
#pragma once

#include <napi.h>

#include "image/info.h"

namespace node_compute {

/// `filename` is the path as the caller gave it.
Napi::Value to_js(Napi::Env env, const std::string& filename, const ImageInfo& info);

}  // namespace node_compute
