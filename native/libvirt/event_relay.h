// From libvirt's callbacks to the listener of a connection.
#pragma once

#include <libvirt/libvirt.h>

#include <memory>
#include <mutex>
#include <vector>

#include "libvirt/domain_changes.h"
#include "libvirt/event.h"

namespace node_compute {

/// libvirt may call once more after a callback was deregistered, so each registration holds the relay by a
/// reference of its own, which libvirt gives back.
class EventRelay : public std::enable_shared_from_this<EventRelay> {
 public:
  /// Replaces the listener; none is told nothing.
  void listen(EventListener listener);
  /// Registers for every kind of event of domains and adds the ids, also where it throws LibvirtError.
  void register_with(virConnectPtr connection, std::vector<int>& ids);
  void publish(decltype(Event::what) what);
  DomainChanges& changes() { return changes_; }

 private:
  std::mutex mutex_;  // guards listener_
  EventListener listener_;
  DomainChanges changes_;
};

}  // namespace node_compute
