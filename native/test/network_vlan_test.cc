// VLANs by the messages that are sent: the test is the kernel, which need not have 802.1Q. And on the real
// one where it has.
#include <doctest/doctest.h>
#include <linux/rtnetlink.h>

#include <cerrno>
#include <deque>
#include <string>
#include <vector>

#include "executor/failure.h"
#include "fake_kernel.h"
#include "network/bridge.h"
#include "network/features.h"
#include "network/link.h"
#include "network/netlink.h"
#include "network/vlan.h"
#include "network_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

constexpr int kPhysical = 7;
constexpr int kBridge = 30;
const VlanRequest kRequest{"eth1.101", "eth1", 101, "brq1", 1450};

struct Host {
  Host() : kernel(netlink) {
    kernel.links["eth1"] = {kPhysical, "", true, 0, 0, 0, 9000, ""};
    kernel.links["brq1"] = {kBridge, "bridge", true, 0, 0, 0, 1450, kBridgeAlias};
  }
  Netlink netlink;
  FakeKernel kernel;
};

int refusal_of(Host& host, const VlanRequest& request = kRequest) {
  return errno_of([&] { ensure_vlan(host.netlink, request); });
}

}  // namespace

TEST_CASE(
    "a VLAN is two messages: the tagged sub-interface of the interface, then mark, bridge and up at once") {
  Host host;
  CHECK(ensure_vlan(host.netlink, kRequest));
  REQUIRE(host.kernel.sent.size() == 2);
  const Sent& make = host.kernel.sent[0];
  CHECK(make.type == RTM_NEWLINK);
  CHECK((make.flags & (NLM_F_CREATE | NLM_F_EXCL)) == (NLM_F_CREATE | NLM_F_EXCL));
  CHECK(make.name == "eth1.101");
  CHECK(make.kind == "vlan");
  CHECK(make.link == kPhysical);
  CHECK(make.vlan == 101);
  CHECK(make.mtu == 1450);
  const Sent& finish = host.kernel.sent[1];
  CHECK(finish.type == RTM_NEWLINK);
  CHECK(finish.index == 40);
  CHECK(finish.alias == "node-compute");
  CHECK(finish.master == kBridge);
  CHECK(finish.up);
}

TEST_CASE("without an MTU none is sent, and an interface that is down is brought up first") {
  Host host;
  host.kernel.links["eth1"].up = false;
  CHECK(ensure_vlan(host.netlink, {"eth1.4094", "eth1", 4094, "brq1", 0}));
  REQUIRE(host.kernel.sent.size() == 3);
  CHECK(host.kernel.sent[0].index == kPhysical);
  CHECK(host.kernel.sent[0].up);
  CHECK_FALSE(host.kernel.sent[1].mtu);
  CHECK(host.kernel.sent[1].vlan == 4094);
}

TEST_CASE("a VLAN that stands on its bridge costs no change; one that lost it gets it back") {
  Host host;
  ensure_vlan(host.netlink, kRequest);
  host.kernel.sent.clear();
  CHECK_FALSE(ensure_vlan(host.netlink, kRequest));
  CHECK(host.kernel.sent.empty());
  host.kernel.links["eth1.101"].master = 0;
  CHECK_FALSE(ensure_vlan(host.netlink, kRequest));
  REQUIRE(host.kernel.sent.size() == 1);
  CHECK(host.kernel.sent[0].master == kBridge);
}

TEST_CASE("of two that make it at once one made it, and both have it") {
  Host host;
  host.kernel.raced = FakeLink{40, "vlan", false, 0, kPhysical, 101, 1450, ""};
  CHECK_FALSE(ensure_vlan(host.netlink, kRequest));
  CHECK(host.kernel.links["eth1.101"].master == kBridge);
  CHECK(host.kernel.links["eth1.101"].up);
}

TEST_CASE("what has the name and is another link is refused and stays") {
  const std::vector<FakeLink> others{
      {40, "vlan", true, 0, kPhysical, 102, 1500, ""},
      {40, "vlan", true, 0, kPhysical + 1, 101, 1500, ""},
      {40, "bridge", true, 0, 0, 0, 1500, ""},
      {40, "", true, 0, 0, 0, 1500, ""},
  };
  for (const FakeLink& other : others) {
    Host host;
    host.kernel.links["eth1.101"] = other;
    CHECK(refusal_of(host) == EEXIST);
    CHECK(host.kernel.sent.empty());
  }
  Host host;
  host.kernel.links["eth1.101"] = {40, "vlan", true, 31, kPhysical, 101, 1500, ""};
  CHECK(refusal_of(host) == EBUSY);
  CHECK(host.kernel.sent.empty());
}

TEST_CASE("a kernel's refusals are told by their errno, and leave nothing") {
  for (const int error : {EOPNOTSUPP, EPERM, EINVAL}) {
    Host host;
    host.kernel.refusals = {error};
    CHECK(refusal_of(host) == error);
    CHECK(host.kernel.links.count("eth1.101") == 0);
    host.kernel.refused_changes = {error};
    CHECK(refusal_of(host) == error);
    CHECK(host.kernel.links.count("eth1.101") == 0);
    CHECK(host.kernel.sent.back().type == RTM_DELLINK);
  }
  // The VLAN has a sub-interface of another name.
  Host host;
  host.kernel.refusals = std::deque<int>(16, EEXIST);
  CHECK(refusal_of(host) == EEXIST);
  host.kernel.links.erase("brq1");
  CHECK(refusal_of(host) == ENODEV);
  host.kernel.links.erase("eth1");
  CHECK(refusal_of(host) == ENODEV);
}

TEST_CASE("numbers that are no VLAN and names that are no link never reach the kernel") {
  Host host;
  for (const unsigned id : {0U, 4095U, 4096U, 65637U}) {
    CHECK_THROWS_AS(ensure_vlan(host.netlink, {"eth1.x", "eth1", id, "brq1", 0}), InvalidArgument);
  }
  for (const char* const name : {"", "..", "a/b", "eth%d", "sixteen-bytes-xx"}) {
    CHECK_THROWS_AS(ensure_vlan(host.netlink, {name, "eth1", 1, "brq1", 0}), InvalidArgument);
    CHECK_THROWS_AS(ensure_vlan(host.netlink, {"eth1.1", name, 1, "brq1", 0}), InvalidArgument);
    CHECK_THROWS_AS(ensure_vlan(host.netlink, {"eth1.1", "eth1", 1, name, 0}), InvalidArgument);
    CHECK_THROWS_AS(remove_vlan(name), InvalidArgument);
  }
  CHECK(host.kernel.sent.empty());
}

TEST_CASE("the real kernel makes and removes a VLAN, or says that it has none") {
  const auto features = probe_network_features();
  if (!features) {
    MESSAGE("skipped: a network namespace needs CAP_SYS_ADMIN");
    return;
  }
  CHECK(features->bridge);
  in_namespace([&] {
    // A bridge takes VLANs as an interface does.
    ensure_bridge("eth1", 0);
    ensure_bridge("brq1", 0);
    const VlanRequest request{"eth1.101", "eth1", 101, "brq1", 1400};
    if (!features->vlan) {
      CHECK(errno_of([&] { ensure_vlan(request); }) == EOPNOTSUPP);
      CHECK_FALSE(get_link("eth1.101"));
      MESSAGE("skipped: this kernel has no 802.1Q");
      return;
    }
    CHECK(ensure_vlan(request));
    CHECK_FALSE(ensure_vlan(request));
    const Link link = get_link("eth1.101").value();
    CHECK(link.kind == "vlan");
    CHECK(link.vlan_id == 101);
    CHECK(link.parent_index == get_link("eth1")->index);
    CHECK(link.master == "brq1");
    CHECK(link.mtu == 1400);
    CHECK(link.alias == "node-compute");
    CHECK(errno_of([&] { remove_vlan("brq1"); }) == EINVAL);
    remove_vlan("eth1.101");
    CHECK_FALSE(get_link("eth1.101"));
  });
}
