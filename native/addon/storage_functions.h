// The addon's functions on small files, directories and locks.
#pragma once

#include <napi.h>

namespace node_compute {

void define_storage_functions(Napi::Env env, Napi::Object exports);

}  // namespace node_compute
