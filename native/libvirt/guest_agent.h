// What the agent in a guest is asked through libvirt.
#pragma once

#include <cstdint>
#include <string>

#include "libvirt/domain.h"

namespace node_compute {

struct GuestTime {
  std::int64_t seconds;  ///< since the epoch
  unsigned nanoseconds;
};

// Each blocks until the agent has answered, at most `timeout_s` seconds for its greeting and as many for the
// answer; throws LibvirtError (VIR_ERR_AGENT_UNRESPONSIVE, VIR_ERR_AGENT_UNSYNCED,
// VIR_ERR_ARGUMENT_UNSUPPORTED without a channel) or Closed.

void set_user_password(Domain& domain, const std::string& user, const std::string& password,
                       unsigned timeout_s);                          ///< virDomainSetUserPassword
GuestTime guest_time(Domain& domain, unsigned timeout_s);            ///< virDomainGetTime
void set_guest_time(Domain& domain, GuestTime, unsigned timeout_s);  ///< virDomainSetTime
int freeze(Domain& domain, unsigned timeout_s);  ///< virDomainFSFreeze: how many file systems
int thaw(Domain& domain, unsigned timeout_s);    ///< virDomainFSThaw: how many

}  // namespace node_compute
