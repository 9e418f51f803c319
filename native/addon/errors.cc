#include "addon/errors.h"

#include <new>
#include <string>

#include "executor/failure.h"
#include "image/image_error.h"
#include "libvirt/error.h"

namespace node_compute {

namespace {

Napi::Object make(Napi::Env env, const char* code, const std::string& message) {
  Napi::Object error = Napi::Error::New(env, message).Value();
  error.Set("code", code);
  return error;
}

Napi::Value nullable(Napi::Env env, const std::string& text) {
  if (text.empty()) return env.Null();
  return Napi::String::New(env, text);
}

Napi::Object from_libvirt(Napi::Env env, const LibvirtError& failure) {
  Napi::Object error = make(env, "LIBVIRT", failure.what());
  error.Set("libvirtCode", failure.code);
  error.Set("libvirtDomain", failure.domain);
  error.Set("level", failure.level);
  error.Set("str1", nullable(env, failure.str1));
  error.Set("str2", nullable(env, failure.str2));
  error.Set("str3", nullable(env, failure.str3));
  error.Set("int1", failure.int1);
  error.Set("int2", failure.int2);
  return error;
}

}  // namespace

Napi::Value to_js_error(Napi::Env env, const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const LibvirtError& error) {
    return from_libvirt(env, error);
  } catch (const SystemError& error) {
    Napi::Object result = make(env, "SYSTEM", error.what());
    result.Set("errno", error.number);
    if (!error.path.empty()) result.Set("path", error.path);
    return result;
  } catch (const ImageError& error) {
    Napi::Object result = make(env, "IMAGE_INVALID", error.what());
    result.Set("rule", error.rule);
    return result;
  } catch (const Cancelled& error) {
    return make(env, "CANCELLED", error.what());
  } catch (const Closed& error) {
    return make(env, "CLOSED", error.what());
  } catch (const QueueFull& error) {
    return make(env, "QUEUE_FULL", error.what());
  } catch (const InvalidArgument& error) {
    return make(env, "INVALID_ARGUMENT", error.what());
  } catch (const std::bad_alloc&) {
    return make(env, "NO_MEMORY", "out of memory");
  } catch (const std::exception& error) {
    return make(env, "INTERNAL", error.what());
  } catch (...) {
    return make(env, "INTERNAL", "unknown failure");
  }
}

}  // namespace node_compute
