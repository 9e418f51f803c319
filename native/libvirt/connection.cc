#include "libvirt/connection.h"

#include <libvirt/virterror.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <utility>

#include "executor/failure.h"
#include "libvirt/domain.h"
#include "libvirt/error.h"
#include "libvirt/event_loop.h"
#include "libvirt/fork_guard.h"
#include "libvirt/reaper.h"
#include "libvirt/usage.h"

namespace node_compute {

/// libvirt's close callback: exceptions must not cross its frames.
void Connection::closed(virConnectPtr, int reason, void* opaque) noexcept {
  try {
    (*static_cast<std::shared_ptr<EventRelay>*>(opaque))->publish(CloseEvent{reason});
  } catch (...) {
    return;
  }
}

namespace {
bool embedded(const std::string& uri) { return uri.find(":///embed") != std::string::npos; }

UsageSampler::Reach reach_of(const std::string& uri) {
  if (embedded(uri)) return UsageSampler::Reach::process;
  return uri.find(":///") != std::string::npos ? UsageSampler::Reach::host : UsageSampler::Reach::remote;
}
}  // namespace

std::shared_ptr<Connection> Connection::open(const std::string& uri, const ConnectOptions& options) {
  if (embedded(uri)) {
    install_fork_guard();
    if (options.reap_orphans) ensure_reaper();
  }
  ensure_event_loop();
  expect_daemons();
  const virConnectPtr raw = virConnectOpenAuth(uri.c_str(), virConnectAuthPtrDefault, 0);
  if (raw == nullptr) throw LibvirtError::last("virConnectOpenAuth");
  // make_shared can't reach the private constructor.
  const std::shared_ptr<Connection> connection(new Connection(raw, std::make_shared<EventRelay>(), uri));
  connection->register_events();
  return connection;
}

Connection::Connection(virConnectPtr connection, std::shared_ptr<EventRelay> relay, const std::string& uri)
    : connection_(connection),
      relay_(std::move(relay)),
      sampler_(std::make_unique<UsageSampler>(reach_of(uri), uri)) {}

Connection::~Connection() { close(); }

void Connection::register_events() {
  relay_->register_with(connection_, callbacks_);
  // No free callback: a driver without a socket says yes and forgets it, and would never call it. The relay
  // lives as long as this object, which unregisters it, and libvirt never calls after that.
  if (virConnectRegisterCloseCallback(connection_, &Connection::closed, &relay_, nullptr) < 0) {
    throw LibvirtError::last("virConnectRegisterCloseCallback");
  }
}

void Connection::subscribe(EventListener listener) {
  const Use use(*this);
  relay_->listen(std::move(listener));
}

void Connection::close() {
  {
    std::unique_lock lock(mutex_);
    closed_ = true;
    idle_.wait(lock, [this] { return uses_ == 0; });
    if (std::exchange(released_, true)) return;
  }
  relay_->listen(nullptr);
  for (const int id : callbacks_) virConnectDomainEventDeregisterAny(connection_, id);
  sampler_->clear();
  virConnectUnregisterCloseCallback(connection_, &Connection::closed);
  virConnectClose(connection_);
  virResetLastError();
}

Connection::Use::Use(Connection& connection) : connection_(connection) {
  const std::lock_guard lock(connection.mutex_);
  if (connection.closed_) throw Closed("the connection to the hypervisor is closed");
  ++connection.uses_;
}

Connection::Use::~Use() {
  const std::lock_guard lock(connection_.mutex_);
  if (--connection_.uses_ == 0) connection_.idle_.notify_all();
}

std::shared_ptr<Domain> Connection::define(const std::string& xml, unsigned flags) {
  const Use use(*this);
  DomainHandle handle(virDomainDefineXMLFlags(connection_, xml.c_str(), flags));
  if (!handle) throw LibvirtError::last("virDomainDefineXMLFlags");
  return std::make_shared<Domain>(shared_from_this(), std::move(handle));
}

std::shared_ptr<Domain> Connection::lookup(const std::string& uuid) {
  const Use use(*this);
  DomainHandle handle(virDomainLookupByUUIDString(connection_, uuid.c_str()));
  if (!handle) throw LibvirtError::last("virDomainLookupByUUIDString");
  return std::make_shared<Domain>(shared_from_this(), std::move(handle));
}

std::vector<DomainRecord> Connection::list(unsigned flags, const std::string& metadata_uri) {
  const Use use(*this);
  virDomainPtr* raw = nullptr;
  const int count = virConnectListAllDomains(connection_, &raw, flags);
  if (count < 0) throw LibvirtError::last("virConnectListAllDomains");
  std::vector<DomainHandle> domains(raw, raw + count);
  free(raw);

  std::vector<DomainRecord> records;
  records.reserve(domains.size());
  for (const DomainHandle& domain : domains) {
    int state = VIR_DOMAIN_NOSTATE;
    int reason = 0;
    if (virDomainGetState(domain.get(), &state, &reason, 0) < 0) {
      virResetLastError();  // it went away since it was listed
      continue;
    }
    const StringHandle metadata(virDomainGetMetadata(domain.get(), VIR_DOMAIN_METADATA_ELEMENT,
                                                     metadata_uri.c_str(), VIR_DOMAIN_AFFECT_CURRENT));
    if (!metadata) virResetLastError();
    records.push_back({uuid_of(domain.get()), virDomainGetName(domain.get()),
                       static_cast<int>(virDomainGetID(domain.get())), state, reason, metadata != nullptr,
                       state == VIR_DOMAIN_SHUTOFF && virDomainHasManagedSaveImage(domain.get(), 0) == 1});
  }
  return records;
}

UsageSample Connection::usage(unsigned groups, const std::string& metadata_uri) {
  const Use use(*this);
  return sampler_->sample(connection_, relay_->changes(), groups, metadata_uri);
}

NodeInfo Connection::node_info() {
  const Use use(*this);
  virNodeInfo info{};
  if (virNodeGetInfo(connection_, &info) < 0) throw LibvirtError::last("virNodeGetInfo");
  return {static_cast<const char*>(info.model),
          info.memory,
          info.cpus,
          info.mhz,
          info.nodes,
          info.sockets,
          info.cores,
          info.threads};
}

std::string Connection::capabilities() {
  const Use use(*this);
  const StringHandle text(virConnectGetCapabilities(connection_));
  if (!text) throw LibvirtError::last("virConnectGetCapabilities");
#ifdef __GLIBC__
  // To answer, libvirt read all that it knows of each QEMU, once: some megabytes that are free again. A
  // launch forks this process five times, and a fork takes the longer the more memory the process has.
  malloc_trim(0);
#endif
  return text.get();
}

std::string Connection::domain_capabilities(const std::string& emulator, const std::string& architecture,
                                            const std::string& machine, const std::string& virt_type) {
  const Use use(*this);
  const auto given = [](const std::string& value) { return value.empty() ? nullptr : value.c_str(); };
  const StringHandle text(virConnectGetDomainCapabilities(connection_, given(emulator), given(architecture),
                                                          given(machine), given(virt_type), 0));
  if (!text) throw LibvirtError::last("virConnectGetDomainCapabilities");
  return text.get();
}

bool Connection::has_network_filter(const std::string& name) {
  const Use use(*this);
  const NetworkFilterHandle filter(virNWFilterLookupByName(connection_, name.c_str()));
  if (filter) return true;
  const virErrorPtr error = virGetLastError();
  if (error == nullptr || error->code != VIR_ERR_NO_NWFILTER) {
    throw LibvirtError::last("virNWFilterLookupByName");
  }
  virResetLastError();
  return false;
}

std::string Connection::expand_cpu(const std::string& cpu_xml) {
  const Use use(*this);
  const char* document = cpu_xml.c_str();
  const StringHandle text(
      virConnectBaselineCPU(connection_, &document, 1, VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES));
  if (!text) throw LibvirtError::last("virConnectBaselineCPU");
  return text.get();
}

std::string Connection::hostname() {
  const Use use(*this);
  const StringHandle text(virConnectGetHostname(connection_));
  if (!text) throw LibvirtError::last("virConnectGetHostname");
  return text.get();
}

Versions Connection::versions() {
  const Use use(*this);
  Versions versions{};
  if (virConnectGetVersion(connection_, &versions.hypervisor) < 0)
    throw LibvirtError::last("virConnectGetVersion");
  if (virConnectGetLibVersion(connection_, &versions.libvirt) < 0) {
    throw LibvirtError::last("virConnectGetLibVersion");
  }
  return versions;
}

bool Connection::alive() {
  const Use use(*this);
  unsigned long version = 0;
  // virConnectIsAlive looks at the socket only, and that of a libvirtd that hangs is open.
  if (virConnectGetLibVersion(connection_, &version) < 0) throw LibvirtError::last("virConnectGetLibVersion");
  return true;
}

}  // namespace node_compute
