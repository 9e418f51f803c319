// The JavaScript class Domain: a handle on native/libvirt/domain.h.
#pragma once

#include <napi.h>

#include <memory>

#include "libvirt/domain.h"

namespace node_compute {

class DomainObject : public Napi::ObjectWrap<DomainObject> {
 public:
  static void define(Napi::Env env);
  static Napi::Value make(Napi::Env env, std::shared_ptr<Domain> domain);

  explicit DomainObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  template <void (Domain::*Method)(unsigned)>
  Napi::Value with_flags(const Napi::CallbackInfo& info);
  template <void (Domain::*Method)()>
  Napi::Value plain(const Napi::CallbackInfo& info);
  /// A call that stands in a file of its own.
  template <auto Function>
  Napi::Value call(const Napi::CallbackInfo& info) {
    return Function(info, domain_);
  }
  Napi::Value info(const Napi::CallbackInfo& info);
  Napi::Value xml(const Napi::CallbackInfo& info);
  Napi::Value uuid(const Napi::CallbackInfo& info);
  Napi::Value name(const Napi::CallbackInfo& info);

  // domain_devices.cc
  Napi::Value attach_device(const Napi::CallbackInfo& info);
  Napi::Value detach_device_alias(const Napi::CallbackInfo& info);
  Napi::Value block_resize(const Napi::CallbackInfo& info);
  Napi::Value set_block_threshold(const Napi::CallbackInfo& info);
  Napi::Value block_capacity(const Napi::CallbackInfo& info);
  Napi::Value block_copy(const Napi::CallbackInfo& info);
  Napi::Value block_job_abort(const Napi::CallbackInfo& info);
  Napi::Value block_job_info(const Napi::CallbackInfo& info);

  std::shared_ptr<Domain> domain_;
};

}  // namespace node_compute
