// The JavaScript class Connection: a handle on native/libvirt/connection.h.
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <string>

#include "libvirt/connection.h"

namespace node_compute {

class ConnectionObject : public Napi::ObjectWrap<ConnectionObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports);

  explicit ConnectionObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  static Napi::Value open(const Napi::CallbackInfo& info);

  Napi::Value uri(const Napi::CallbackInfo& info);
  Napi::Value define_domain(const Napi::CallbackInfo& info);
  Napi::Value lookup(const Napi::CallbackInfo& info);
  Napi::Value list(const Napi::CallbackInfo& info);
  Napi::Value usage(const Napi::CallbackInfo& info);
  Napi::Value node_info(const Napi::CallbackInfo& info);
  Napi::Value capabilities(const Napi::CallbackInfo& info);
  Napi::Value domain_capabilities(const Napi::CallbackInfo& info);
  Napi::Value has_network_filter(const Napi::CallbackInfo& info);
  Napi::Value expand_cpu(const Napi::CallbackInfo& info);
  Napi::Value hostname(const Napi::CallbackInfo& info);
  Napi::Value versions(const Napi::CallbackInfo& info);
  Napi::Value is_alive(const Napi::CallbackInfo& info);
  Napi::Value subscribe(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Connection> connection_;
  std::string uri_;
  std::uint32_t listener_ = 0;
};

}  // namespace node_compute
