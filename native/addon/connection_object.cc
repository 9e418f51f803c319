#include "addon/connection_object.h"

#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/disposal.h"
#include "addon/domain_object.h"
#include "addon/event_feed.h"
#include "addon/usage_sample.h"
#include "libvirt/event_loop.h"

namespace node_compute {

namespace {

using Text = std::string;

Napi::Value text_to_js(Napi::Env env, const Text& text) { return Napi::String::New(env, text); }

Napi::Value records_to_js(Napi::Env env, const std::vector<DomainRecord>& records) {
  const Napi::Array array = Napi::Array::New(env, records.size());
  std::uint32_t index = 0;
  for (const DomainRecord& record : records) {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("uuid", record.uuid);
    object.Set("name", record.name);
    object.Set("id", record.id);
    object.Set("state", record.state);
    object.Set("reason", record.reason);
    object.Set("ours", record.ours);
    object.Set("saved", record.saved);
    array.Set(index++, object);
  }
  return array;
}

Napi::Value node_info_to_js(Napi::Env env, const NodeInfo& info) {
  const Napi::Object object = Napi::Object::New(env);
  object.Set("model", info.model);
  object.Set("memoryKib", static_cast<double>(info.memory_kib));
  object.Set("cpus", info.cpus);
  object.Set("mhz", info.mhz);
  object.Set("numaNodes", info.numa_nodes);
  object.Set("sockets", info.sockets);
  object.Set("cores", info.cores);
  object.Set("threads", info.threads);
  return object;
}

}  // namespace

void ConnectionObject::define(Napi::Env env, Napi::Object exports) {
  Environment::of(env).connection_constructor = Napi::Persistent(
      DefineClass(env, "Connection",
                  {
                      InstanceAccessor<&ConnectionObject::uri>("uri"),
                      InstanceMethod<&ConnectionObject::define_domain>("define"),
                      InstanceMethod<&ConnectionObject::lookup>("lookup"),
                      InstanceMethod<&ConnectionObject::list>("list"),
                      InstanceMethod<&ConnectionObject::usage>("usage"),
                      InstanceMethod<&ConnectionObject::node_info>("nodeInfo"),
                      InstanceMethod<&ConnectionObject::capabilities>("capabilities"),
                      InstanceMethod<&ConnectionObject::domain_capabilities>("domainCapabilities"),
                      InstanceMethod<&ConnectionObject::has_network_filter>("hasNetworkFilter"),
                      InstanceMethod<&ConnectionObject::expand_cpu>("expandCpu"),
                      InstanceMethod<&ConnectionObject::hostname>("hostname"),
                      InstanceMethod<&ConnectionObject::versions>("versions"),
                      InstanceMethod<&ConnectionObject::is_alive>("isAlive"),
                      InstanceMethod<&ConnectionObject::subscribe>("subscribe"),
                      InstanceMethod<&ConnectionObject::close>("close"),
                  }));
  exports.Set("openConnection", Napi::Function::New<&ConnectionObject::open>(env, "openConnection"));
}

Napi::Value ConnectionObject::open(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Text uri = to_text(info[0], "uri");
    const Napi::Object given = to_object(info[1], "options");
    const ConnectOptions options{.reap_orphans = to_bool(given.Get("reapOrphans"), "reapOrphans")};
    const Text log_file = to_text(given.Get("logFile"), "logFile");
    initialize_libvirt(log_file);
    return Async(
        info.Env(), Lane::wait, call_id(info, 2),
        [uri, options](const Cancellation&) { return Connection::open(uri, options); },
        [uri](Napi::Env env, std::shared_ptr<Connection> connection) -> Napi::Value {
          auto carried = Napi::External<std::shared_ptr<Connection>>::New(env, &connection);
          return Environment::of(env).connection_constructor.New({carried, Napi::String::New(env, uri)});
        });
  });
}

ConnectionObject::ConnectionObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsExternal()) {
    throw Napi::TypeError::New(info.Env(), "a Connection comes from openConnection()");
  }
  connection_ = std::move(*info[0].As<Napi::External<std::shared_ptr<Connection>>>().Data());
  uri_ = info[1].As<Napi::String>().Utf8Value();
}

void ConnectionObject::Finalize(Napi::BasicEnv) { dispose(std::move(connection_)); }

Napi::Value ConnectionObject::uri(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), uri_);
}

Napi::Value ConnectionObject::define_domain(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::start, call_id(info, 2),
        [connection = connection_, xml = to_text(info[0], "xml"),
         flags = to_flags(info[1], "flags")](const Cancellation&) { return connection->define(xml, flags); },
        &DomainObject::make);
  });
}

Napi::Value ConnectionObject::lookup(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [connection = connection_, uuid = to_text(info[0], "uuid")](const Cancellation&) {
          return connection->lookup(uuid);
        },
        &DomainObject::make);
  });
}

Napi::Value ConnectionObject::list(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 2),
        [connection = connection_, flags = to_flags(info[0], "flags"),
         uri = to_text(info[1], "metadataUri")](const Cancellation&) { return connection->list(flags, uri); },
        &records_to_js);
  });
}

Napi::Value ConnectionObject::usage(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const unsigned groups = to_flags(info[0], "groups");
    // A sample with disks may wait for a QEMU that hangs: not where short questions are answered.
    const Lane lane = (groups & kUsageDisk) != 0 ? Lane::wait : Lane::probe;
    return Async(
        info.Env(), lane, call_id(info, 2),
        [connection = connection_, groups, metadata_uri = to_text(info[1], "metadataUri")](
            const Cancellation&) { return connection->usage(groups, metadata_uri); },
        &usage_to_js);
  });
}

Napi::Value ConnectionObject::node_info(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), Lane::probe, call_id(info, 0),
      [connection = connection_](const Cancellation&) { return connection->node_info(); }, &node_info_to_js);
}

Napi::Value ConnectionObject::capabilities(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), Lane::wait, call_id(info, 0),
      [connection = connection_](const Cancellation&) { return connection->capabilities(); }, &text_to_js);
}

Napi::Value ConnectionObject::domain_capabilities(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 4),
        [connection = connection_, emulator = to_text(info[0], "emulator"),
         architecture = to_text(info[1], "arch"), machine = to_text(info[2], "machine"),
         virt_type = to_text(info[3], "virtType")](const Cancellation&) {
          return connection->domain_capabilities(emulator, architecture, machine, virt_type);
        },
        &text_to_js);
  });
}

Napi::Value ConnectionObject::has_network_filter(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::probe, call_id(info, 1),
        [connection = connection_, name = to_text(info[0], "name")](const Cancellation&) {
          return connection->has_network_filter(name);
        },
        [](Napi::Env env, bool found) -> Napi::Value { return Napi::Boolean::New(env, found); });
  });
}

Napi::Value ConnectionObject::expand_cpu(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::wait, call_id(info, 1),
        [connection = connection_, cpu = to_text(info[0], "cpuXml")](const Cancellation&) {
          return connection->expand_cpu(cpu);
        },
        &text_to_js);
  });
}

Napi::Value ConnectionObject::hostname(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), Lane::probe, call_id(info, 0),
      [connection = connection_](const Cancellation&) { return connection->hostname(); }, &text_to_js);
}

Napi::Value ConnectionObject::versions(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), Lane::wait, call_id(info, 0),
      [connection = connection_](const Cancellation&) { return connection->versions(); },
      [](Napi::Env env, const Versions& versions) -> Napi::Value {
        const Napi::Object object = Napi::Object::New(env);
        object.Set("hypervisor", static_cast<double>(versions.hypervisor));
        object.Set("libvirt", static_cast<double>(versions.libvirt));
        return object;
      });
}

Napi::Value ConnectionObject::is_alive(const Napi::CallbackInfo& info) {
  return Async(
      info.Env(), Lane::pulse, call_id(info, 0),
      [connection = connection_](const Cancellation&) { return connection->alive(); },
      [](Napi::Env env, bool alive) -> Napi::Value { return Napi::Boolean::New(env, alive); });
}

Napi::Value ConnectionObject::subscribe(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    if (!info[0].IsFunction()) throw InvalidArgument("listener must be a function");
    auto& environment = Environment::of(info.Env());
    if (listener_ != 0) environment.remove_listener(listener_);
    listener_ = environment.add_listener(info[0].As<Napi::Function>());
    const auto feed = std::make_shared<EventFeed>(environment.completions(), listener_);
    return Async(info.Env(), Lane::probe, call_id(info, 1),
                 [connection = connection_, feed](const Cancellation&) {
                   connection->subscribe([feed](Event event) { feed->push(std::move(event)); });
                 });
  });
}

Napi::Value ConnectionObject::close(const Napi::CallbackInfo& info) {
  if (listener_ != 0) Environment::of(info.Env()).remove_listener(std::exchange(listener_, 0));
  return Async(info.Env(), Lane::wait, call_id(info, 0),
               [connection = connection_](const Cancellation&) { connection->close(); });
}

}  // namespace node_compute
