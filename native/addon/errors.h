// Exceptions of the core as JavaScript errors with a `code` and their fields.
#pragma once

#include <napi.h>

#include <exception>

namespace node_compute {

/// The error of `failure`; on the environment's thread.
Napi::Value to_js_error(Napi::Env env, const std::exception_ptr& failure);

}  // namespace node_compute
