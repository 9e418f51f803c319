#include "libvirt/domain.h"

#include <array>
#include <optional>
#include <utility>

#include "libvirt/ended_process.h"
#include "libvirt/error.h"
#include "libvirt/reaper.h"

namespace node_compute {

namespace {
void check(int result, const char* doing) {
  if (result < 0) throw LibvirtError::last(doing);
}
}  // namespace

std::string uuid_of(virDomainPtr domain) {
  std::array<char, VIR_UUID_STRING_BUFLEN> uuid{};
  check(virDomainGetUUIDString(domain, uuid.data()), "virDomainGetUUIDString");
  return uuid.data();
}

Domain::Domain(std::shared_ptr<Connection> connection, DomainHandle handle)
    : connection_(std::move(connection)),
      handle_(std::move(handle)),
      uuid_(uuid_of(handle_.get())),
      name_(virDomainGetName(handle_.get())) {}

Domain::~Domain() = default;

void Domain::start(unsigned flags) {
  const Connection::Use use(*connection_);
  expect_daemons();
  check(virDomainCreateWithFlags(handle_.get(), flags), "virDomainCreateWithFlags");
}

void Domain::destroy(unsigned flags) {
  const Connection::Use use(*connection_);
  const int active = virDomainIsActive(handle_.get());
  check(active, "virDomainIsActive");
  std::optional<EndedProcess> ended;
  if (active == 1) ended.emplace(uuid_);
  check(virDomainDestroyFlags(handle_.get(), flags), "virDomainDestroyFlags");
}

void Domain::shutdown(unsigned flags) {
  const Connection::Use use(*connection_);
  check(virDomainShutdownFlags(handle_.get(), flags), "virDomainShutdownFlags");
}

void Domain::reboot(unsigned flags) {
  const Connection::Use use(*connection_);
  check(virDomainReboot(handle_.get(), flags), "virDomainReboot");
}

void Domain::reset() {
  const Connection::Use use(*connection_);
  check(virDomainReset(handle_.get(), 0), "virDomainReset");
}

void Domain::suspend() {
  const Connection::Use use(*connection_);
  check(virDomainSuspend(handle_.get()), "virDomainSuspend");
}

void Domain::resume() {
  const Connection::Use use(*connection_);
  check(virDomainResume(handle_.get()), "virDomainResume");
}

void Domain::undefine(unsigned flags) {
  const Connection::Use use(*connection_);
  check(virDomainUndefineFlags(handle_.get(), flags), "virDomainUndefineFlags");
}

DomainInfo Domain::info() {
  const Connection::Use use(*connection_);
  virDomainInfo info{};
  check(virDomainGetInfo(handle_.get(), &info), "virDomainGetInfo");
  // Only a running domain has an id, and the handle has that of the moment it was made or last started. A
  // second question doubles the call, so it is asked only where another handle started the domain.
  const bool running = info.state != VIR_DOMAIN_SHUTOFF && info.state != VIR_DOMAIN_CRASHED;
  int id = running ? static_cast<int>(virDomainGetID(handle_.get())) : -1;
  if (running && id < 0) {
    const DomainHandle now(virDomainLookupByUUIDString(virDomainGetConnect(handle_.get()), uuid_.c_str()));
    if (now) id = static_cast<int>(virDomainGetID(now.get()));
  }
  const bool saved = info.state == VIR_DOMAIN_SHUTOFF && virDomainHasManagedSaveImage(handle_.get(), 0) == 1;
  return {id, info.state, info.maxMem, info.memory, info.nrVirtCpu, info.cpuTime, saved};
}

std::string Domain::xml(unsigned flags) {
  const Connection::Use use(*connection_);
  const StringHandle text(virDomainGetXMLDesc(handle_.get(), flags));
  if (!text) throw LibvirtError::last("virDomainGetXMLDesc");
  return text.get();
}

}  // namespace node_compute
