#include "addon/domain_object.h"

#include <utility>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/disposal.h"
#include "addon/domain_functions.h"

namespace node_compute {

namespace {

/// Starts burn CPU, the others wait for the guest or the kernel.
template <void (Domain::*Method)(unsigned)>
constexpr Lane lane_of() {
  return Method == &Domain::start ? Lane::start : Lane::wait;
}

Napi::Value to_js(Napi::Env env, const DomainInfo& info) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("id", info.id);
  result.Set("state", info.state);
  result.Set("maxMemoryKib", static_cast<double>(info.max_memory_kib));
  result.Set("memoryKib", static_cast<double>(info.memory_kib));
  result.Set("vcpus", info.vcpus);
  result.Set("cpuTimeNs", Napi::BigInt::New(env, info.cpu_time_ns));
  result.Set("saved", info.saved);
  return result;
}

}  // namespace

void DomainObject::define(Napi::Env env) {
  Environment::of(env).domain_constructor = Napi::Persistent(
      DefineClass(env, "Domain",
                  {
                      InstanceAccessor<&DomainObject::uuid>("uuid"),
                      InstanceAccessor<&DomainObject::name>("name"),
                      InstanceMethod<&DomainObject::with_flags<&Domain::start>>("start"),
                      InstanceMethod<&DomainObject::with_flags<&Domain::destroy>>("destroy"),
                      InstanceMethod<&DomainObject::with_flags<&Domain::shutdown>>("shutdown"),
                      InstanceMethod<&DomainObject::with_flags<&Domain::reboot>>("reboot"),
                      InstanceMethod<&DomainObject::with_flags<&Domain::undefine>>("undefine"),
                      InstanceMethod<&DomainObject::plain<&Domain::reset>>("reset"),
                      InstanceMethod<&DomainObject::plain<&Domain::suspend>>("suspend"),
                      InstanceMethod<&DomainObject::plain<&Domain::resume>>("resume"),
                      InstanceMethod<&DomainObject::call<&managed_save_call>>("managedSave"),
                      InstanceMethod<&DomainObject::call<&managed_save_remove_call>>("managedSaveRemove"),
                      InstanceMethod<&DomainObject::call<&abort_job_call>>("abortJob"),
                      InstanceMethod<&DomainObject::call<&inject_nmi_call>>("injectNmi"),
                      InstanceMethod<&DomainObject::call<&set_memory_call>>("setMemory"),
                      InstanceMethod<&DomainObject::call<&set_vcpus_call>>("setVcpus"),
                      InstanceMethod<&DomainObject::call<&statistics_call>>("statistics"),
                      InstanceMethod<&DomainObject::call<&screenshot_call>>("screenshot"),
                      InstanceMethod<&DomainObject::call<&open_console_call>>("openConsole"),
                      InstanceMethod<&DomainObject::call<&set_user_password_call>>("setUserPassword"),
                      InstanceMethod<&DomainObject::call<&guest_time_call>>("guestTime"),
                      InstanceMethod<&DomainObject::call<&set_guest_time_call>>("setGuestTime"),
                      InstanceMethod<&DomainObject::call<&freeze_call>>("freeze"),
                      InstanceMethod<&DomainObject::call<&thaw_call>>("thaw"),
                      InstanceMethod<&DomainObject::info>("info"),
                      InstanceMethod<&DomainObject::xml>("xml"),
                      InstanceMethod<&DomainObject::attach_device>("attachDevice"),
                      InstanceMethod<&DomainObject::detach_device_alias>("detachDeviceAlias"),
                      InstanceMethod<&DomainObject::block_resize>("blockResize"),
                      InstanceMethod<&DomainObject::set_block_threshold>("setBlockThreshold"),
                      InstanceMethod<&DomainObject::block_capacity>("blockCapacity"),
                      InstanceMethod<&DomainObject::block_copy>("blockCopy"),
                      InstanceMethod<&DomainObject::block_job_abort>("blockJobAbort"),
                      InstanceMethod<&DomainObject::block_job_info>("blockJobInfo"),
                  }));
}

Napi::Value DomainObject::make(Napi::Env env, std::shared_ptr<Domain> domain) {
  // The external only carries the pointer across the constructor call.
  auto carried = Napi::External<std::shared_ptr<Domain>>::New(env, &domain);
  return Environment::of(env).domain_constructor.New({carried});
}

DomainObject::DomainObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "a Domain comes from a Connection");
  }
  domain_ = std::move(*info[0].As<Napi::External<std::shared_ptr<Domain>>>().Data());
}

void DomainObject::Finalize(Napi::BasicEnv) { dispose(std::move(domain_)); }

template <void (Domain::*Method)(unsigned)>
Napi::Value DomainObject::with_flags(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), lane_of<Method>(), call_id(info, 1),
                 [domain = domain_, flags = to_flags(info[0], "flags")](const Cancellation&) {
                   ((*domain).*Method)(flags);
                 });
  });
}

template <void (Domain::*Method)()>
Napi::Value DomainObject::plain(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 0),
                 [domain = domain_](const Cancellation&) { ((*domain).*Method)(); });
  });
}

Napi::Value DomainObject::info(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 0),
        [domain = domain_](const Cancellation&) { return domain->info(); },
        [](Napi::Env env, const DomainInfo& result) { return to_js(env, result); });
  });
}

Napi::Value DomainObject::xml(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [domain = domain_, flags = to_flags(info[0], "flags")](const Cancellation&) {
          return domain->xml(flags);
        },
        [](Napi::Env env, const std::string& text) -> Napi::Value { return Napi::String::New(env, text); });
  });
}

Napi::Value DomainObject::uuid(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), domain_->uuid());
}

Napi::Value DomainObject::name(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), domain_->name());
}

}  // namespace node_compute
