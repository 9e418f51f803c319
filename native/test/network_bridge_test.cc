// Bridges, each test in a network namespace of its own: nothing of the host's network is touched.
#include <doctest/doctest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <cerrno>
#include <chrono>
#include <exception>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "network/bridge.h"
#include "network/link.h"
#include "network/netlink.h"
#include "network_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

void set_mtu(const std::string& link, unsigned mtu) {
  Netlink netlink;
  LinkMessage message(RTM_NEWLINK, 0, static_cast<int>(if_nametoindex(link.c_str())));
  message.number(IFLA_MTU, mtu);
  REQUIRE(netlink.request(message) == 0);
}

/// A bridge as an operator makes one: down, without our alias.
void add_foreign_bridge(const std::string& name) {
  Netlink netlink;
  LinkMessage message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.text(IFLA_IFNAME, name).nest(IFLA_LINKINFO, [](LinkMessage& info) {
    info.text(IFLA_INFO_KIND, "bridge");
  });
  REQUIRE(netlink.request(message) == 0);
}

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// sysfs shows the namespace it was mounted in, so the bridge is asked for its own words.
std::uint32_t bridge_setting(const std::string& name, int attribute) {
  std::uint32_t value = 0xdead;
  Netlink netlink;
  LinkMessage message(RTM_GETLINK, 0);
  message.text(IFLA_IFNAME, name);
  const int error = netlink.request(message, [&](nlmsghdr* header) {
    nlattr* const info = nlmsg_find_attr(header, sizeof(ifinfomsg), IFLA_LINKINFO);
    REQUIRE(info != nullptr);
    nlattr* const data = nla_find(static_cast<nlattr*>(nla_data(info)), nla_len(info), IFLA_INFO_DATA);
    REQUIRE(data != nullptr);
    nlattr* const found = nla_find(static_cast<nlattr*>(nla_data(data)), nla_len(data), attribute);
    REQUIRE(found != nullptr);
    value = nla_get_u32(found);
  });
  REQUIRE(error == 0);
  return value;
}

}  // namespace

TEST_CASE("a bridge is made once: up, marked as ours, forwarding at once, without the host's IPv6") {
  in_namespace([] {
    CHECK_FALSE(get_link("br-test"));
    CHECK(ensure_bridge("br-test", 1400));
    CHECK_FALSE(ensure_bridge("br-test", 9000));
    const auto link = get_link("br-test").value();
    CHECK(link.kind == "bridge");
    CHECK(link.up);
    CHECK(link.mtu == 1400);
    CHECK(link.alias == "node-compute");
    CHECK(link.master.empty());
    CHECK(link.index == static_cast<int>(if_nametoindex("br-test")));
    CHECK(bridge_setting("br-test", IFLA_BR_STP_STATE) == 0);
    CHECK(bridge_setting("br-test", IFLA_BR_FORWARD_DELAY) == 0);
    const std::string ipv6 = first_line("/proc/sys/net/ipv6/conf/br-test/disable_ipv6");
    if (ipv6.empty()) {
      MESSAGE("skipped: no IPv6 in this kernel");
    } else {
      CHECK(ipv6 == "1");
    }
  });
}

TEST_CASE("the address and the MTU of a bridge stay when ports come") {
  in_namespace([] {
    ensure_bridge("br-test", 1450);
    const auto before = get_link("br-test").value();
    for (int i = 0; i < 4; ++i) {
      const std::string tap = "tap" + std::to_string(i);
      add_tap(tap);
      set_mtu(tap, 1300);
      enslave(tap, "br-test");
    }
    const auto after = get_link("br-test").value();
    CHECK(after.mac == before.mac);
    CHECK(after.mtu == 1450);
    // Locally administered, of one station.
    CHECK((std::stoi(before.mac.substr(0, 2), nullptr, 16) & 3) == 2);
    CHECK(get_link("tap0")->master == "br-test");
    CHECK(get_link("tap0")->kind == "tun");
  });
}

TEST_CASE("an operator's bridge is brought up and otherwise left as it is") {
  in_namespace([] {
    add_foreign_bridge("br-own");
    const auto before = get_link("br-own").value();
    CHECK_FALSE(before.up);
    CHECK_FALSE(ensure_bridge("br-own", 1400));
    const auto after = get_link("br-own").value();
    CHECK(after.up);
    CHECK(after.alias.empty());
    CHECK(after.mtu == before.mtu);
    CHECK(after.mac == before.mac);
  });
}

TEST_CASE("a name that is another kind of link is refused and stays") {
  in_namespace([] {
    add_tap("tap0");
    CHECK(errno_of([] { ensure_bridge("tap0", 0); }) == EEXIST);
    CHECK(errno_of([] { ensure_bridge("lo", 0); }) == EEXIST);
    CHECK(errno_of([] { remove_bridge("tap0"); }) == EINVAL);
    CHECK(errno_of([] { list_bridge_ports("tap0"); }) == EINVAL);
    ensure_bridge("br-test", 0);
    CHECK(errno_of([] { remove_tap("br-test"); }) == EINVAL);
    CHECK(errno_of([] { remove_tap("lo"); }) == EINVAL);
    CHECK(get_link("tap0"));
    CHECK(get_link("br-test"));
  });
}

TEST_CASE("a bridge with ports stays, one without goes, none is no error") {
  in_namespace([] {
    CHECK_FALSE(remove_bridge("br-test"));
    CHECK(errno_of([] { list_bridge_ports("br-test"); }) == ENODEV);
    ensure_bridge("br-test", 0);
    ensure_bridge("br-other", 0);
    for (const char* const tap : {"tap-b", "tap-a", "tap-other"}) add_tap(tap);
    enslave("tap-b", "br-test");
    enslave("tap-a", "br-test");
    enslave("tap-other", "br-other");
    CHECK(list_bridge_ports("br-test") == std::vector<std::string>{"tap-a", "tap-b"});
    CHECK_FALSE(remove_bridge("br-test"));
    remove_tap("tap-a");
    remove_tap("tap-a");
    remove_tap("tap-b");
    CHECK_FALSE(get_link("tap-a"));
    CHECK(list_bridge_ports("br-test").empty());
    CHECK(remove_bridge("br-test"));
    CHECK_FALSE(get_link("br-test"));
    CHECK(list_bridge_ports("br-other") == std::vector<std::string>{"tap-other"});
  });
}

TEST_CASE("of many who make one bridge at once exactly one made it") {
  in_namespace([] {
    constexpr int kThreads = 8;
    for (int round = 0; round < 25; ++round) {
      std::atomic<int> made{0};
      std::atomic<int> failed{0};
      std::barrier start(kThreads);
      {
        std::vector<std::jthread> threads;
        threads.reserve(kThreads);
        for (int i = 0; i < kThreads; ++i) {
          threads.emplace_back([&] {
            start.arrive_and_wait();
            try {
              if (ensure_bridge("br-race", 1400)) ++made;
            } catch (const std::exception&) {
              ++failed;
            }
          });
        }
      }
      CHECK(made == 1);
      CHECK(failed == 0);
      const auto link = get_link("br-race").value();
      CHECK(link.up);
      CHECK(link.alias == "node-compute");
      CHECK(remove_bridge("br-race"));
    }
  });
}

TEST_CASE("without the privilege the kernel's refusal is told, and nothing is left") {
  in_namespace([] {
    if (geteuid() != 0) {
      MESSAGE("skipped: giving up root needs it");
      return;
    }
    int error = 0;
    // By system call, for this thread alone: the C library's would change the whole process.
    std::thread([&] {
      if (syscall(SYS_setresuid, 65534, 65534, 65534) == 0)
        error = errno_of([] { ensure_bridge("br-test", 0); });
    }).join();
    CHECK(error == EPERM);
    CHECK_FALSE(get_link("br-test"));
  });
}

TEST_CASE("an MTU that the kernel refuses leaves no bridge") {
  in_namespace([] {
    CHECK(errno_of([] { ensure_bridge("br-test", 1); }) == EINVAL);
    CHECK_FALSE(get_link("br-test"));
  });
}

TEST_CASE("a bridge that stands is found within its budget, whatever else there is") {
  in_namespace([] {
    constexpr int kLooks = 200;
    ensure_bridge("br-test", 0);
    for (int i = 0; i < 50; ++i) add_tap("tap" + std::to_string(i));
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kLooks; ++i) ensure_bridge("br-test", 0);
    const auto each = (std::chrono::steady_clock::now() - start) / kLooks;
    MESSAGE("ensure_bridge of a bridge that stands: "
            << std::chrono::duration_cast<std::chrono::microseconds>(each).count() << " us");
    // Ten times the budget: sanitizers and busy machines run this as well.
    CHECK(each < std::chrono::milliseconds(10));
  });
}
