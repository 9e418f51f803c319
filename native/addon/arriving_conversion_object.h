// ArrivingConversion as a JavaScript object.
#pragma once

#include <napi.h>

namespace node_compute {

/// Adds `openArrivingConversion` to the exports.
void define_arriving_conversion_object(Napi::Env env, Napi::Object exports);

}  // namespace node_compute
