#include "libvirt/guest_agent.h"

#include "libvirt/error.h"

namespace node_compute {

namespace {

/// Without a limit libvirt waits for an answer for ever, and no other call on the domain gets its turn.
template <class Call>
auto ask(Domain& domain, unsigned timeout_s, Call call) {
  return domain.with([&](virDomainPtr handle) {
    if (virDomainAgentSetResponseTimeout(handle, static_cast<int>(timeout_s), 0) < 0) {
      throw LibvirtError::last("virDomainAgentSetResponseTimeout");
    }
    return call(handle);
  });
}

int check(int result, const char* doing) {
  if (result < 0) throw LibvirtError::last(doing);
  return result;
}

}  // namespace

void set_user_password(Domain& domain, const std::string& user, const std::string& password,
                       unsigned timeout_s) {
  ask(domain, timeout_s, [&](virDomainPtr handle) {
    check(virDomainSetUserPassword(handle, user.c_str(), password.c_str(), 0), "virDomainSetUserPassword");
  });
}

GuestTime guest_time(Domain& domain, unsigned timeout_s) {
  return ask(domain, timeout_s, [](virDomainPtr handle) {
    long long seconds = 0;
    unsigned nanoseconds = 0;
    check(virDomainGetTime(handle, &seconds, &nanoseconds, 0), "virDomainGetTime");
    return GuestTime{seconds, nanoseconds};
  });
}

void set_guest_time(Domain& domain, GuestTime time, unsigned timeout_s) {
  ask(domain, timeout_s, [&](virDomainPtr handle) {
    check(virDomainSetTime(handle, time.seconds, time.nanoseconds, 0), "virDomainSetTime");
  });
}

int freeze(Domain& domain, unsigned timeout_s) {
  return ask(domain, timeout_s, [](virDomainPtr handle) {
    return check(virDomainFSFreeze(handle, nullptr, 0, 0), "virDomainFSFreeze");
  });
}

int thaw(Domain& domain, unsigned timeout_s) {
  return ask(domain, timeout_s, [](virDomainPtr handle) {
    return check(virDomainFSThaw(handle, nullptr, 0, 0), "virDomainFSThaw");
  });
}

}  // namespace node_compute
