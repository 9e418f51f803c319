// What happened to a domain or a connection, copied out of libvirt's callback.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>

#include "libvirt/typed_parameters.h"

namespace node_compute {

struct DomainEvent {
  std::string uuid;
  std::string name;
};

struct LifecycleEvent : DomainEvent {
  int event;   ///< virDomainEventType
  int detail;  ///< virDomainEvent*DetailType of that event
  int id;      ///< of the running domain; -1 when it is not running
};

struct RebootEvent : DomainEvent {};

struct DeviceEvent : DomainEvent {
  std::string alias;  ///< of the device, in the running domain
  bool removed;       ///< false: the guest refused to let it go
};

struct BlockJobEvent : DomainEvent {
  std::string disk;  ///< target: vda ...
  int job;           ///< virDomainBlockJobType
  int status;        ///< virConnectDomainEventBlockJobStatus
};

struct IoErrorEvent : DomainEvent {
  std::string path;    ///< of the image; may be empty
  std::string alias;   ///< of the disk, in the running domain
  int action;          ///< virDomainEventIOErrorAction
  std::string reason;  ///< "enospc", or empty where libvirt knows none
};

struct WatchdogEvent : DomainEvent {
  int action;  ///< virDomainEventWatchdogAction
};

struct AgentEvent : DomainEvent {
  int state;   ///< virConnectDomainEventAgentLifecycleState
  int reason;  ///< virConnectDomainEventAgentLifecycleReason
};

struct JobCompletedEvent : DomainEvent {
  Statistics statistics;  ///< by VIR_DOMAIN_JOB_*
};

struct BalloonEvent : DomainEvent {
  std::uint64_t memory_kib;
};

struct BlockThresholdEvent : DomainEvent {
  std::string disk;  ///< target: vda; or a part of its chain: vda[1]
  std::string path;  ///< may be empty
  std::uint64_t threshold;
  std::uint64_t excess;
};

struct CloseEvent {
  int reason;  ///< virConnectCloseReason
};

struct Event {
  std::variant<LifecycleEvent, RebootEvent, DeviceEvent, BlockJobEvent, IoErrorEvent, WatchdogEvent,
               AgentEvent, JobCompletedEvent, BalloonEvent, BlockThresholdEvent, CloseEvent>
      what;
  double timestamp_ms;  ///< since the epoch
};

/// Called on the event loop's thread: must not block and must not call libvirt.
using EventListener = std::function<void(Event)>;

}  // namespace node_compute
