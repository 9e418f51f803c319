// A sample of all domains as JavaScript takes it cheaply: names, and one block of numbers for the rest.
#pragma once

#include <napi.h>

#include "libvirt/usage.h"

namespace node_compute {

/**
 * `{ uuids, names, figures }`. `figures` is an ArrayBuffer of rows of 21 64-bit words, doubles but for the
 * CPU time, an unsigned integer; NaN where there is no figure. The times of the vCPUs, unsigned integers,
 * follow the rows; their place and number stand in the row. src/libvirt/usage.ts reads it.
 */
Napi::Value usage_to_js(Napi::Env env, const UsageSample& sample);

}  // namespace node_compute
