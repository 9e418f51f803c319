// Which domains a sample of their usage has to ask anew.
#pragma once

#include <libvirt/libvirt.h>

#include <mutex>
#include <string>
#include <unordered_set>

namespace node_compute {

/// Which domains are no longer as they were last seen, by libvirt's events. Filled on the event loop's
/// thread.
class DomainChanges {
 public:
  struct Changed {
    bool all = false;
    std::unordered_set<std::string> uuids;
    bool contains(const std::string& uuid) const { return all || uuids.contains(uuid); }
  };

  void note(virDomainPtr domain) noexcept;
  Changed take();

 private:
  std::mutex mutex_;  // guards changed_
  Changed changed_;
};

}  // namespace node_compute
