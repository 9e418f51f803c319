// Methods of the JavaScript class Domain whose work stands in files of its own below native/libvirt.
#pragma once

#include <napi.h>

#include <memory>

#include "libvirt/domain.h"

namespace node_compute {

using SharedDomain = std::shared_ptr<Domain>;

Napi::Value managed_save_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value managed_save_remove_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value abort_job_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value inject_nmi_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value set_memory_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value set_vcpus_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value statistics_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value screenshot_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value open_console_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value set_user_password_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value guest_time_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value set_guest_time_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value freeze_call(const Napi::CallbackInfo& info, const SharedDomain& domain);
Napi::Value thaw_call(const Napi::CallbackInfo& info, const SharedDomain& domain);

}  // namespace node_compute
