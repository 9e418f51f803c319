// A network namespace for one test, and taps in it.
#pragma once

#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cstring>
#include <exception>
#include <functional>
#include <string>
#include <thread>

#include "executor/failure.h"
#include "network/netlink.h"
#include "storage/file_descriptor.h"

namespace node_compute::test {

/// Namespaces belong to threads: what the test makes ends with its own.
inline void in_namespace(const std::function<void()>& test) {
  bool permitted = true;
  std::exception_ptr failure;
  std::thread([&] {
    permitted = unshare(CLONE_NEWNET) == 0;
    if (!permitted) return;
    try {
      test();
    } catch (...) {
      failure = std::current_exception();
    }
  }).join();
  if (failure) std::rethrow_exception(failure);
  if (!permitted) MESSAGE("skipped: a network namespace needs CAP_SYS_ADMIN");
}

template <class Call>
int errno_of(Call call) {
  try {
    call();
  } catch (const SystemError& error) {
    return error.number;
  }
  return 0;
}

/// A tap that stays when its descriptor goes.
inline void add_tap(const std::string& name, short kind = IFF_TAP) {
  const FileDescriptor device(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  REQUIRE(device);
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(kind | IFF_NO_PI);
  REQUIRE(ioctl(device.get(), TUNSETIFF, &request) == 0);
  REQUIRE(ioctl(device.get(), TUNSETPERSIST, 1) == 0);
}

inline void enslave(const std::string& port, const std::string& bridge) {
  Netlink netlink;
  LinkMessage message(RTM_NEWLINK, 0, static_cast<int>(if_nametoindex(port.c_str())));
  message.number(IFLA_MASTER, if_nametoindex(bridge.c_str()));
  REQUIRE(netlink.request(message) == 0);
}

}  // namespace node_compute::test
