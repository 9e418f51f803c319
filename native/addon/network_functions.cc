#include "addon/network_functions.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/async.h"
#include "network/bridge.h"
#include "network/link.h"

namespace node_compute {

namespace {

Napi::Value to_js(Napi::Env env, const std::optional<Link>& link) {
  if (!link) return env.Undefined();
  const Napi::Object result = Napi::Object::New(env);
  result.Set("kind", link->kind);
  result.Set("index", link->index);
  result.Set("mtu", link->mtu);
  result.Set("up", link->up);
  result.Set("master", link->master);
  result.Set("mac", link->mac);
  result.Set("alias", link->alias);
  return result;
}

Napi::Value bool_to_js(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }

Napi::Value ensure_bridge_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 2),
        [name = to_text(info[0], "name"), mtu = to_flags(info[1], "mtu")](const Cancellation&) {
          return ensure_bridge(name, mtu);
        },
        &bool_to_js);
  });
}

Napi::Value remove_bridge_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [name = to_text(info[0], "name")](const Cancellation&) { return remove_bridge(name); }, &bool_to_js);
  });
}

Napi::Value remove_tap_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::probe, call_id(info, 1),
                 [name = to_text(info[0], "name")](const Cancellation&) { remove_tap(name); });
  });
}

Napi::Value get_link_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [name = to_text(info[0], "name")](const Cancellation&) { return get_link(name); },
        [](Napi::Env env, const std::optional<Link>& link) { return to_js(env, link); });
  });
}

Napi::Value list_bridge_ports_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [name = to_text(info[0], "bridge")](const Cancellation&) { return list_bridge_ports(name); },
        [](Napi::Env env, const std::vector<std::string>& names) {
          const Napi::Array result = Napi::Array::New(env, names.size());
          for (std::uint32_t i = 0; i < names.size(); ++i) result.Set(i, names[i]);
          return result;
        });
  });
}

}  // namespace

void define_network_functions(Napi::Env env, Napi::Object exports) {
  exports.Set("ensureBridge", Napi::Function::New<&ensure_bridge_call>(env, "ensureBridge"));
  exports.Set("removeBridge", Napi::Function::New<&remove_bridge_call>(env, "removeBridge"));
  exports.Set("removeTap", Napi::Function::New<&remove_tap_call>(env, "removeTap"));
  exports.Set("getLink", Napi::Function::New<&get_link_call>(env, "getLink"));
  exports.Set("listBridgePorts", Napi::Function::New<&list_bridge_ports_call>(env, "listBridgePorts"));
}

}  // namespace node_compute
