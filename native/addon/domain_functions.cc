#include "addon/domain_functions.h"

#include <string>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/bytes.h"
#include "addon/console_object.h"
#include "addon/statistics_to_js.h"
#include "libvirt/domain_size.h"
#include "libvirt/guest_agent.h"
#include "libvirt/managed_save.h"
#include "libvirt/screenshot.h"
#include "libvirt/statistics.h"

namespace node_compute {

namespace {
Napi::Value count_to_js(Napi::Env env, int count) { return Napi::Number::New(env, count); }

Napi::Value time_to_js(Napi::Env env, const GuestTime& time) {
  return Napi::Number::New(env, static_cast<double>(time.seconds) * 1000 + time.nanoseconds / 1e6);
}

GuestTime to_time(const Napi::Value& value) {
  const std::uint64_t milliseconds = to_size(value, "milliseconds");
  return {static_cast<std::int64_t>(milliseconds / 1000),
          static_cast<unsigned>(milliseconds % 1000) * 1'000'000};
}

}  // namespace

Napi::Value managed_save_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 0),
                 [domain](const Cancellation&) { managed_save(*domain); });
  });
}

Napi::Value managed_save_remove_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 0),
        [domain](const Cancellation&) { return managed_save_remove(*domain); }, &bool_to_js);
  });
}

Napi::Value abort_job_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    // Not behind the very jobs that it ends.
    return Async(
        info.Env(), Lane::probe, call_id(info, 0),
        [domain](const Cancellation&) { return abort_job(*domain); }, &bool_to_js);
  });
}

Napi::Value inject_nmi_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 0),
                 [domain](const Cancellation&) { inject_nmi(*domain); });
  });
}

Napi::Value set_memory_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 2),
                 [domain, kib = to_size(info[0], "kib"), flags = to_flags(info[1], "flags")](
                     const Cancellation&) { set_memory(*domain, kib, flags); });
  });
}

Napi::Value set_vcpus_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 2),
                 [domain, count = to_flags(info[0], "count"), flags = to_flags(info[1], "flags")](
                     const Cancellation&) { set_vcpus(*domain, count, flags); });
  });
}

Napi::Value statistics_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [domain, groups = to_flags(info[0], "groups")](const Cancellation&) {
          return statistics(*domain, groups);
        },
        [](Napi::Env env, const Statistics& found) -> Napi::Value { return statistics_to_js(env, found); });
  });
}

Napi::Value screenshot_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 2),
        [domain, screen = to_flags(info[0], "screen"), most = to_size(info[1], "maxBytes")](
            const Cancellation&) { return screenshot(*domain, screen, most); },
        [](Napi::Env env, Screenshot picture) -> Napi::Value {
          const Napi::Object result = Napi::Object::New(env);
          result.Set("mimeType", picture.mime_type);
          result.Set("data", to_buffer(env, std::move(picture.bytes)));
          return result;
        });
  });
}

Napi::Value open_console_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 2),
        [domain, device = to_text(info[0], "device"), flags = to_flags(info[1], "flags")](
            const Cancellation&) { return Console::open(*domain, device, flags); },
        &ConsoleObject::make);
  });
}

Napi::Value set_user_password_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 3),
                 [domain, user = to_text(info[0], "user"), password = to_text(info[1], "password"),
                  timeout_s = to_flags(info[2], "timeoutSeconds")](const Cancellation&) {
                   set_user_password(*domain, user, password, timeout_s);
                 });
  });
}

Napi::Value guest_time_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 1),
        [domain, timeout_s = to_flags(info[0], "timeoutSeconds")](const Cancellation&) {
          return guest_time(*domain, timeout_s);
        },
        &time_to_js);
  });
}

Napi::Value set_guest_time_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 2),
                 [domain, time = to_time(info[0]), timeout_s = to_flags(info[1], "timeoutSeconds")](
                     const Cancellation&) { set_guest_time(*domain, time, timeout_s); });
  });
}

Napi::Value freeze_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 1),
        [domain, timeout_s = to_flags(info[0], "timeoutSeconds")](const Cancellation&) {
          return freeze(*domain, timeout_s);
        },
        &count_to_js);
  });
}

Napi::Value thaw_call(const Napi::CallbackInfo& info, const SharedDomain& domain) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 1),
        [domain, timeout_s = to_flags(info[0], "timeoutSeconds")](const Cancellation&) {
          return thaw(*domain, timeout_s);
        },
        &count_to_js);
  });
}

}  // namespace node_compute
