// The addon's functions on bridges, taps and links.
#pragma once

#include <napi.h>

namespace node_compute {

void define_network_functions(Napi::Env env, Napi::Object exports);

}  // namespace node_compute
