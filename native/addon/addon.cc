// The addon's entry: what `require('node_compute.node')` gives, per environment.
#include <libvirt/libvirt.h>
#include <napi.h>

#include "addon/arguments.h"
#include "addon/arriving_conversion_object.h"
#include "addon/connection_object.h"
#include "addon/console_object.h"
#include "addon/disk_object.h"
#include "addon/domain_object.h"
#include "addon/environment.h"
#include "addon/file_digest_object.h"
#include "addon/image_functions.h"
#include "addon/network_functions.h"
#include "addon/storage_functions.h"
#include "executor/executor.h"

namespace node_compute {

namespace {

Napi::Value cancel(const Napi::CallbackInfo& info) {
  if (info[0].IsNumber()) Environment::of(info.Env()).cancel(info[0].As<Napi::Number>().Uint32Value());
  return info.Env().Undefined();
}

Napi::Value progress(const Napi::CallbackInfo& info) {
  const std::uint32_t id = info[0].IsNumber() ? info[0].As<Napi::Number>().Uint32Value() : 0;
  return Napi::Number::New(info.Env(), static_cast<double>(Environment::of(info.Env()).progress(id)));
}

Napi::Value executor_statistics(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const Napi::Array result = Napi::Array::New(env);
  std::uint32_t index = 0;
  for (const LaneStatistics& lane : Executor::process().statistics()) {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("lane", lane_name(lane.lane));
    object.Set("queued", static_cast<double>(lane.queued));
    object.Set("running", static_cast<double>(lane.running));
    object.Set("threads", static_cast<double>(lane.threads));
    object.Set("completed", static_cast<double>(lane.completed));
    result.Set(index++, object);
  }
  return result;
}

Napi::Value libvirt_version(const Napi::CallbackInfo& info) {
  unsigned long version = 0;
  virGetVersion(&version, nullptr, nullptr);
  return Napi::Number::New(info.Env(), static_cast<double>(version));
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  Environment::create(env);
  exports.Set("cancel", Napi::Function::New<&cancel>(env, "cancel"));
  exports.Set("progress", Napi::Function::New<&progress>(env, "progress"));
  exports.Set("executorStatistics", Napi::Function::New<&executor_statistics>(env, "executorStatistics"));
  exports.Set("libvirtVersion", Napi::Function::New<&libvirt_version>(env, "libvirtVersion"));
  DomainObject::define(env);
  ConsoleObject::define(env);
  ConnectionObject::define(env, exports);
  define_image_functions(env, exports);
  define_disk_object(env, exports);
  define_arriving_conversion_object(env, exports);
  define_file_digest_object(env, exports);
  define_network_functions(env, exports);
  define_storage_functions(env, exports);
  return exports;
}

}  // namespace

}  // namespace node_compute

static Napi::Object init_node_compute(Napi::Env env, Napi::Object exports) {
  return node_compute::init(env, exports);
}

NODE_API_MODULE(node_compute, init_node_compute)
