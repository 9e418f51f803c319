#include "libvirt/event_relay.h"

#include <chrono>
#include <utility>

#include "libvirt/domain.h"
#include "libvirt/error.h"

namespace node_compute {

namespace {

EventRelay& relay_of(void* opaque) { return **static_cast<std::shared_ptr<EventRelay>*>(opaque); }

void release(void* opaque) noexcept {
  delete static_cast<std::shared_ptr<EventRelay>*>(opaque);  // NOLINT(cppcoreguidelines-owning-memory)
}

DomainEvent subject(virDomainPtr domain) { return {uuid_of(domain), virDomainGetName(domain)}; }
std::string text(const char* value) { return value == nullptr ? "" : value; }

/// Exceptions (no memory) must not cross libvirt's frames: the event is lost, the process is not.
template <typename Make>
void relay(void* opaque, Make make) noexcept {
  try {
    relay_of(opaque).publish(make());
  } catch (...) {
    return;
  }
}

int lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque) noexcept {
  if (event == VIR_DOMAIN_EVENT_DEFINED) relay_of(opaque).changes().note(domain);
  relay(opaque, [&] {
    return LifecycleEvent{subject(domain), event, detail, static_cast<int>(virDomainGetID(domain))};
  });
  return 0;
}
void reboot(virConnectPtr, virDomainPtr domain, void* opaque) noexcept {
  relay(opaque, [&] { return RebootEvent{subject(domain)}; });
}
template <bool removed>
void device(virConnectPtr, virDomainPtr domain, const char* alias, void* opaque) noexcept {
  if (removed) relay_of(opaque).changes().note(domain);
  relay(opaque, [&] { return DeviceEvent{subject(domain), alias, removed}; });
}
void device_added(virConnectPtr, virDomainPtr domain, const char*, void* opaque) noexcept {
  relay_of(opaque).changes().note(domain);
}
void block_job(virConnectPtr, virDomainPtr domain, const char* disk, int job, int status,
               void* opaque) noexcept {
  relay(opaque, [&] { return BlockJobEvent{subject(domain), disk, job, status}; });
}
void io_error(virConnectPtr, virDomainPtr domain, const char* path, const char* alias, int action,
              const char* reason, void* opaque) noexcept {
  relay(opaque, [&] { return IoErrorEvent{subject(domain), text(path), text(alias), action, text(reason)}; });
}
void watchdog(virConnectPtr, virDomainPtr domain, int action, void* opaque) noexcept {
  relay(opaque, [&] { return WatchdogEvent{subject(domain), action}; });
}
void agent(virConnectPtr, virDomainPtr domain, int state, int reason, void* opaque) noexcept {
  relay(opaque, [&] { return AgentEvent{subject(domain), state, reason}; });
}
void job_completed(virConnectPtr, virDomainPtr domain, virTypedParameterPtr parameters, int count,
                   void* opaque) noexcept {
  relay(opaque, [&] { return JobCompletedEvent{subject(domain), copy_parameters(parameters, count)}; });
}
void balloon(virConnectPtr, virDomainPtr domain, unsigned long long memory_kib, void* opaque) noexcept {
  relay_of(opaque).changes().note(domain);
  relay(opaque, [&] { return BalloonEvent{subject(domain), memory_kib}; });
}
void block_threshold(virConnectPtr, virDomainPtr domain, const char* disk, const char* path,
                     unsigned long long threshold, unsigned long long excess, void* opaque) noexcept {
  relay(opaque, [&] {
    return BlockThresholdEvent{subject(domain), text(disk), text(path), threshold, excess};
  });
}

/** What VIR_DOMAIN_EVENT_CALLBACK does, by way of the one function type that compilers let any other become.
 */
template <typename Callback>
virConnectDomainEventGenericCallback generic(Callback* callback) {
  return reinterpret_cast<virConnectDomainEventGenericCallback>(reinterpret_cast<void (*)()>(callback));
}

}  // namespace

void EventRelay::listen(EventListener listener) {
  const std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

void EventRelay::publish(decltype(Event::what) what) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  Event event{std::move(what), std::chrono::duration<double, std::milli>(now).count()};
  const std::lock_guard lock(mutex_);
  if (listener_) listener_(std::move(event));
}

void EventRelay::register_with(virConnectPtr connection, std::vector<int>& ids) {
  const auto add = [&](int event, virConnectDomainEventGenericCallback callback) {
    auto* const opaque =
        new std::shared_ptr<EventRelay>(shared_from_this());  // NOLINT(cppcoreguidelines-owning-memory)
    const int id = virConnectDomainEventRegisterAny(connection, nullptr, event, callback, opaque, &release);
    if (id < 0) {
      release(opaque);
      throw LibvirtError::last("virConnectDomainEventRegisterAny");
    }
    ids.push_back(id);
  };
  add(VIR_DOMAIN_EVENT_ID_LIFECYCLE, generic(&lifecycle));
  add(VIR_DOMAIN_EVENT_ID_REBOOT, generic(&reboot));
  add(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, generic(&device<true>));
  add(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, generic(&device<false>));
  add(VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, generic(&device_added));
  add(VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, generic(&block_job));
  add(VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, generic(&io_error));
  add(VIR_DOMAIN_EVENT_ID_WATCHDOG, generic(&watchdog));
  add(VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, generic(&agent));
  add(VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, generic(&job_completed));
  add(VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, generic(&balloon));
  add(VIR_DOMAIN_EVENT_ID_BLOCK_THRESHOLD, generic(&block_threshold));
}

}  // namespace node_compute
