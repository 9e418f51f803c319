// The JavaScript class Console: a handle on native/libvirt/console.h.
#pragma once

#include <napi.h>

#include <memory>

#include "libvirt/console.h"

namespace node_compute {

class ConsoleObject : public Napi::ObjectWrap<ConsoleObject> {
 public:
  static void define(Napi::Env env);
  static Napi::Value make(Napi::Env env, std::shared_ptr<Console> console);

  explicit ConsoleObject(const Napi::CallbackInfo& info);
  void Finalize(Napi::BasicEnv env) override;

 private:
  Napi::Value read(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<Console> console_;
};

}  // namespace node_compute
