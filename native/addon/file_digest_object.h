// FileDigest as a JavaScript object: the hash of a file in pieces.
#pragma once

#include <napi.h>

namespace node_compute {

/// Adds `openFileDigest` to the exports.
void define_file_digest_object(Napi::Env env, Napi::Object exports);

}  // namespace node_compute
