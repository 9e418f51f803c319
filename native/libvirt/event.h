// What happened to a domain or a connection, copied out of libvirt's callback.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

namespace node_compute {

struct LifecycleEvent {
  std::string uuid;
  std::string name;
  int event;   ///< virDomainEventType
  int detail;  ///< virDomainEvent*DetailType of that event
};

struct RebootEvent {
  std::string uuid;
  std::string name;
};

struct DeviceEvent {
  std::string uuid;
  std::string name;
  std::string alias;  ///< of the device, in the running domain
  bool removed;       ///< false: the guest refused to let it go
};

struct BlockJobEvent {
  std::string uuid;
  std::string name;
  std::string disk;  ///< target: vda ...
  int job;           ///< virDomainBlockJobType
  int status;        ///< virConnectDomainEventBlockJobStatus
};

struct CloseEvent {
  int reason;  ///< virConnectCloseReason
};

struct Event {
  std::variant<LifecycleEvent, RebootEvent, DeviceEvent, BlockJobEvent, CloseEvent> what;
  double timestamp_ms;  ///< since the epoch
};

/// Called on the event loop's thread: must not block and must not call libvirt.
using EventListener = std::function<void(Event)>;

}  // namespace node_compute
