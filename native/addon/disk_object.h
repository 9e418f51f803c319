// Disk as a JavaScript object: random reads, its map, and the stream of its qcow2 image.
#pragma once

#include <napi.h>

namespace node_compute {

/// Adds `openDisk` to the exports.
void define_disk_object(Napi::Env env, Napi::Object exports);

}  // namespace node_compute
