// Ports of bridges: interfaces join and leave, taps are made on them, each test in a network namespace of its
// own.
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include "network/bridge.h"
#include "network/bridge_port.h"
#include "network/link.h"
#include "network_fixture.h"
#include "storage/file_descriptor.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

/// IPv4 by ioctl: short, and not the code under test.
void set_address(const std::string& link, const char* address, const char* mask) {
  const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto set = [&](unsigned long what, const char* text) {
    ifreq request{};
    std::strncpy(request.ifr_name, link.c_str(), IFNAMSIZ - 1);
    sockaddr_in value{};
    value.sin_family = AF_INET;
    REQUIRE(inet_pton(AF_INET, text, &value.sin_addr) == 1);
    std::memcpy(&request.ifr_addr, &value, sizeof value);
    REQUIRE(ioctl(socket.get(), what, &request) == 0);
  };
  set(SIOCSIFADDR, address);
  set(SIOCSIFNETMASK, mask);
}

/// As QEMU opens a tap: once for each queue. The errno, or 0.
int open_queue(const std::string& tap, FileDescriptor& device, int queues) {
  device = FileDescriptor(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  REQUIRE(device);
  ifreq request{};
  std::strncpy(request.ifr_name, tap.c_str(), IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | queues);
  return ioctl(device.get(), TUNSETIFF, &request) == 0 ? 0 : errno;
}

}  // namespace

TEST_CASE("an interface joins a bridge once, comes up, and leaves it; another bridge does not get it") {
  in_namespace([] {
    ensure_bridge("br-a", 0);
    ensure_bridge("br-b", 0);
    add_tap("eth1");
    CHECK(add_bridge_port("br-a", "eth1"));
    CHECK_FALSE(add_bridge_port("br-a", "eth1"));
    CHECK(get_link("eth1")->master == "br-a");
    CHECK(get_link("eth1")->up);
    CHECK(errno_of([] { add_bridge_port("br-b", "eth1"); }) == EBUSY);
    CHECK_FALSE(remove_bridge_port("br-b", "eth1"));
    CHECK(remove_bridge_port("br-a", "eth1"));
    CHECK_FALSE(remove_bridge_port("br-a", "eth1"));
    CHECK(get_link("eth1")->master.empty());
    CHECK_FALSE(remove_bridge_port("br-a", "none"));
    CHECK(errno_of([] { add_bridge_port("br-a", "none"); }) == ENODEV);
    CHECK(errno_of([] { add_bridge_port("none", "eth1"); }) == ENODEV);
    CHECK(errno_of([] { add_bridge_port("eth1", "br-a"); }) == EINVAL);
  });
}

TEST_CASE("taps are made on their bridge, up, with their MTU, and no bridge takes their address") {
  in_namespace([] {
    using Names = std::vector<std::string>;
    ensure_bridge("br-a", 1400);
    CHECK(ensure_taps({{"tap-a"}, "br-a", 1400, false}) == Names{"tap-a"});
    CHECK(ensure_taps({{"tap-a", "tap-b"}, "br-a", 1400, false}) == Names{"tap-b"});
    CHECK(ensure_taps({{}, "br-a", 0, false}).empty());
    for (const char* const name : {"tap-a", "tap-b"}) {
      const Link tap = get_link(name).value();
      CHECK(tap.kind == "tun");
      CHECK(tap.master == "br-a");
      CHECK(tap.mtu == 1400);
      CHECK(tap.up);
      CHECK(tap.mac.substr(0, 2) == "fe");
    }
  });
}

TEST_CASE("where one tap cannot be made none is, and those that stood stay") {
  in_namespace([] {
    ensure_bridge("br-a", 0);
    ensure_taps({{"tap-old"}, "br-a", 0, false});
    CHECK(errno_of([] { ensure_taps({{"tap-old", "tap-b", "br-a"}, "br-a", 0, false}); }) == EEXIST);
    CHECK(errno_of([] { ensure_taps({{"tap-b"}, "none", 0, false}); }) == ENODEV);
    CHECK(errno_of([] { ensure_taps({{"tap-b", "tap-c"}, "br-a", 1, false}); }) == EINVAL);
    CHECK(list_bridge_ports("br-a") == std::vector<std::string>{"tap-old"});
    CHECK_FALSE(get_link("tap-b"));
    CHECK_THROWS_AS(ensure_taps({{"tap-b", "tap%d"}, "br-a", 0, false}), InvalidArgument);
    CHECK_FALSE(get_link("tap-b"));
  });
}

TEST_CASE("a tap of several queues is opened once for each, a plain one once") {
  in_namespace([] {
    ensure_bridge("br-a", 0);
    ensure_taps({{"tap-many"}, "br-a", 0, true});
    ensure_taps({{"tap-one"}, "br-a", 0, false});
    FileDescriptor first, second, third;
    CHECK(open_queue("tap-many", first, IFF_MULTI_QUEUE) == 0);
    CHECK(open_queue("tap-many", second, IFF_MULTI_QUEUE) == 0);
    CHECK(open_queue("tap-one", third, IFF_MULTI_QUEUE) == EINVAL);
    CHECK(open_queue("tap-one", third, 0) == 0);
    FileDescriptor fourth;
    CHECK(open_queue("tap-one", fourth, 0) == EBUSY);
  });
}

TEST_CASE("addresses are those that somebody gave") {
  in_namespace([] {
    add_tap("eth1");
    add_tap("eth2");
    CHECK(list_addresses("eth1").empty());
    set_address("eth1", "192.0.2.1", "255.255.255.0");
    set_address("eth2", "198.51.100.1", "255.255.0.0");
    CHECK(list_addresses("eth1") == std::vector<std::string>{"192.0.2.1/24"});
    CHECK(list_addresses("eth2") == std::vector<std::string>{"198.51.100.1/16"});
    CHECK(errno_of([] { list_addresses("none"); }) == ENODEV);
  });
}
