#include "libvirt/domain_changes.h"

#include <utility>

#include "libvirt/domain.h"

namespace node_compute {

namespace {
constexpr std::size_t kMostChanged = 4096;
}  // namespace

void DomainChanges::note(virDomainPtr domain) noexcept {
  try {
    std::string uuid = uuid_of(domain);
    const std::lock_guard lock(mutex_);
    if (changed_.all) return;
    changed_.uuids.insert(std::move(uuid));
    // Nobody may ever ask: domains that come and go must not fill the memory.
    if (changed_.uuids.size() > kMostChanged) changed_ = {true, {}};
  } catch (...) {
    return;  // no memory: it is asked again in half a minute
  }
}

DomainChanges::Changed DomainChanges::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(changed_, {});
}

}  // namespace node_compute
