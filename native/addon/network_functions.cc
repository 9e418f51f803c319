#include "addon/network_functions.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/async.h"
#include "network/bridge.h"
#include "network/bridge_port.h"
#include "network/features.h"
#include "network/link.h"
#include "network/vlan.h"

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

Napi::Value list_to_js(Napi::Env env, const std::vector<std::string>& texts) {
  const Napi::Array result = Napi::Array::New(env, texts.size());
  for (std::uint32_t i = 0; i < texts.size(); ++i) result.Set(i, texts[i]);
  return result;
}

Napi::Value list_bridge_ports_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [name = to_text(info[0], "bridge")](const Cancellation&) { return list_bridge_ports(name); },
        &list_to_js);
  });
}

Napi::Value list_addresses_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [name = to_text(info[0], "name")](const Cancellation&) { return list_addresses(name); }, &list_to_js);
  });
}

template <bool change(const std::string&, const std::string&)>
Napi::Value port_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 2),
        [bridge = to_text(info[0], "bridge"), port = to_text(info[1], "port")](const Cancellation&) {
          return change(bridge, port);
        },
        &bool_to_js);
  });
}

std::vector<std::string> to_texts(const Napi::Value& value, const char* name) {
  if (!value.IsArray()) throw InvalidArgument(std::string(name) + " must be an array");
  const auto array = value.As<Napi::Array>();
  std::vector<std::string> texts;
  for (std::uint32_t i = 0; i < array.Length(); ++i) texts.push_back(to_text(array.Get(i), name));
  return texts;
}

Napi::Value ensure_taps_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Napi::Object given = to_object(info[0], "taps");
    const TapsRequest request{
        to_texts(given.Get("names"), "names"),
        to_text(given.Get("bridge"), "bridge"),
        to_flags(given.Get("mtu"), "mtu"),
        to_bool(given.Get("multiQueue"), "multiQueue"),
    };
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [request](const Cancellation&) { return ensure_taps(request); }, &list_to_js);
  });
}

Napi::Value ensure_vlan_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Napi::Object given = to_object(info[0], "vlan");
    const VlanRequest request{
        to_text(given.Get("name"), "name"), to_text(given.Get("physicalInterface"), "physicalInterface"),
        to_flags(given.Get("id"), "id"),    to_text(given.Get("bridge"), "bridge"),
        to_flags(given.Get("mtu"), "mtu"),
    };
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [request](const Cancellation&) { return ensure_vlan(request); }, &bool_to_js);
  });
}

Napi::Value remove_vlan_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::probe, call_id(info, 1),
                 [name = to_text(info[0], "name")](const Cancellation&) { remove_vlan(name); });
  });
}

Napi::Value network_features_call(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), Lane::probe, call_id(info, 0), [](const Cancellation&) { return probe_network_features(); },
      [](Napi::Env env, const std::optional<NetworkFeatures>& features) -> Napi::Value {
        if (!features) return env.Undefined();
        const Napi::Object result = Napi::Object::New(env);
        result.Set("bridge", features->bridge);
        result.Set("vlan", features->vlan);
        result.Set("bridgeVlanFiltering", features->bridge_vlan_filtering);
        return result;
      });
}

}  // namespace

void define_network_functions(Napi::Env env, Napi::Object exports) {
  exports.Set("ensureBridge", Napi::Function::New<&ensure_bridge_call>(env, "ensureBridge"));
  exports.Set("removeBridge", Napi::Function::New<&remove_bridge_call>(env, "removeBridge"));
  exports.Set("removeTap", Napi::Function::New<&remove_tap_call>(env, "removeTap"));
  exports.Set("getLink", Napi::Function::New<&get_link_call>(env, "getLink"));
  exports.Set("listBridgePorts", Napi::Function::New<&list_bridge_ports_call>(env, "listBridgePorts"));
  exports.Set("addBridgePort", Napi::Function::New<&port_call<&add_bridge_port>>(env, "addBridgePort"));
  exports.Set("removeBridgePort",
              Napi::Function::New<&port_call<&remove_bridge_port>>(env, "removeBridgePort"));
  exports.Set("ensureTaps", Napi::Function::New<&ensure_taps_call>(env, "ensureTaps"));
  exports.Set("ensureVlan", Napi::Function::New<&ensure_vlan_call>(env, "ensureVlan"));
  exports.Set("removeVlan", Napi::Function::New<&remove_vlan_call>(env, "removeVlan"));
  exports.Set("listAddresses", Napi::Function::New<&list_addresses_call>(env, "listAddresses"));
  exports.Set("networkFeatures", Napi::Function::New<&network_features_call>(env, "networkFeatures"));
}

}  // namespace node_compute
