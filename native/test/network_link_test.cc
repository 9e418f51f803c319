// Links: taps go whoever holds them, and names that are none never reach the kernel.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>

#include <cstring>

#include "executor/failure.h"
#include "network/bridge.h"
#include "network/link.h"
#include "network_fixture.h"
#include "storage/file_descriptor.h"

using namespace node_compute;
using namespace node_compute::test;

TEST_CASE("a tap goes although a process still has it open, and so does a tun") {
  in_namespace([] {
    const FileDescriptor device(open("/dev/net/tun", O_RDWR | O_CLOEXEC));
    REQUIRE(device);
    ifreq request{};
    std::strncpy(request.ifr_name, "tap-open", IFNAMSIZ - 1);
    request.ifr_flags = IFF_TAP | IFF_NO_PI;
    REQUIRE(ioctl(device.get(), TUNSETIFF, &request) == 0);
    remove_tap("tap-open");
    CHECK_FALSE(get_link("tap-open"));
    add_tap("tun0", IFF_TUN);
    remove_tap("tun0");
    CHECK_FALSE(get_link("tun0"));
  });
}

TEST_CASE("names that Linux takes for no link, or would expand, are refused before they reach it") {
  for (const char* const name :
       {"", ".", "..", "a/b", "a b", "a\tb", "a\nb", "a:1", "tap%d", "sixteen-bytes-xx"}) {
    CHECK_THROWS_AS(check_link_name(name), InvalidArgument);
    CHECK_THROWS_AS(ensure_bridge(name, 0), InvalidArgument);
    CHECK_THROWS_AS(remove_bridge(name), InvalidArgument);
    CHECK_THROWS_AS(remove_tap(name), InvalidArgument);
    CHECK_THROWS_AS(get_link(name), InvalidArgument);
    CHECK_THROWS_AS(list_bridge_ports(name), InvalidArgument);
  }
  CHECK_NOTHROW(check_link_name("fifteen-bytes-x"));
}
