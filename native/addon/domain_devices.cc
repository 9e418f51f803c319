// The methods of the JavaScript class Domain that are about its devices.
#include <utility>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/domain_object.h"

namespace node_compute {

namespace {

/// `method(text, flags, callId)`: QEMU's monitor answers when it does, so never among the short questions.
Napi::Value text_and_flags(const Napi::CallbackInfo& info, const std::shared_ptr<Domain>& domain,
                           const char* name, void (Domain::*method)(const std::string&, unsigned)) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 2),
                 [domain, method, text = to_text(info[0], name), flags = to_flags(info[1], "flags")](
                     const Cancellation&) { ((*domain).*method)(text, flags); });
  });
}

/// `method(disk, bytes, callId)`.
Napi::Value disk_and_bytes(const Napi::CallbackInfo& info, const std::shared_ptr<Domain>& domain,
                           void (Domain::*method)(const std::string&, std::uint64_t)) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 2),
                 [domain, method, disk = to_text(info[0], "disk"), bytes = to_size(info[1], "bytes")](
                     const Cancellation&) { ((*domain).*method)(disk, bytes); });
  });
}

Napi::Value to_js(Napi::Env env, const std::optional<BlockJobInfo>& info) {
  if (!info) return env.Undefined();
  Napi::Object result = Napi::Object::New(env);
  result.Set("type", info->type);
  result.Set("current", static_cast<double>(info->current));
  result.Set("end", static_cast<double>(info->end));
  return result;
}

}  // namespace

Napi::Value DomainObject::attach_device(const Napi::CallbackInfo& info) {
  return text_and_flags(info, domain_, "xml", &Domain::attach_device);
}

Napi::Value DomainObject::detach_device_alias(const Napi::CallbackInfo& info) {
  return text_and_flags(info, domain_, "alias", &Domain::detach_device_alias);
}

Napi::Value DomainObject::block_job_abort(const Napi::CallbackInfo& info) {
  return text_and_flags(info, domain_, "disk", &Domain::block_job_abort);
}

Napi::Value DomainObject::block_resize(const Napi::CallbackInfo& info) {
  return disk_and_bytes(info, domain_, &Domain::block_resize);
}

Napi::Value DomainObject::set_block_threshold(const Napi::CallbackInfo& info) {
  return disk_and_bytes(info, domain_, &Domain::set_block_threshold);
}

Napi::Value DomainObject::block_capacity(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 1),
        [domain = domain_, disk = to_text(info[0], "disk")](const Cancellation&) {
          return domain->block_capacity(disk);
        },
        [](Napi::Env env, std::uint64_t bytes) -> Napi::Value {
          return Napi::Number::New(env, static_cast<double>(bytes));
        });
  });
}

Napi::Value DomainObject::block_copy(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 3),
        [domain = domain_, disk = to_text(info[0], "disk"), xml = to_text(info[1], "xml"),
         flags = to_flags(info[2], "flags")](const Cancellation&) { domain->block_copy(disk, xml, flags); });
  });
}

Napi::Value DomainObject::block_job_info(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 1),
        [domain = domain_, disk = to_text(info[0], "disk")](const Cancellation&) {
          return domain->block_job_info(disk);
        },
        [](Napi::Env env, const std::optional<BlockJobInfo>& job) { return to_js(env, job); });
  });
}

}  // namespace node_compute
