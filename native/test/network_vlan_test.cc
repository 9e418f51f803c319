// VLANs by the messages that are sent: the test is the kernel, which need not have 802.1Q. And on the real
// one where it has.
#include <doctest/doctest.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>
#include <netlink/handlers.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "executor/failure.h"
#include "network/bridge.h"
#include "network/features.h"
#include "network/link.h"
#include "network/netlink.h"
#include "network/vlan.h"
#include "network_fixture.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

struct FakeLink {
  int index = 0;
  std::string kind;
  bool up = false;
  int master = 0;
  int parent = 0;
  unsigned vlan = 0;
  unsigned mtu = 1500;
  std::string alias;
};

/// What a request said, in the words of the test.
struct Sent {
  int type = 0;
  int flags = 0;
  int index = 0;
  bool up = false;
  std::string name;
  std::string kind;
  std::string alias;
  std::optional<unsigned> link, mtu, master, vlan;
};

std::string text_of(nlattr* attribute) { return attribute == nullptr ? "" : nla_get_string(attribute); }

std::optional<unsigned> number_of(nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  return nla_get_u32(attribute);
}

Sent read(nlmsghdr* header) {
  std::array<nlattr*, IFLA_MAX + 1> all{};
  CHECK(nlmsg_parse(header, sizeof(ifinfomsg), all.data(), IFLA_MAX, nullptr) == 0);
  const auto* const info = static_cast<const ifinfomsg*>(nlmsg_data(header));
  Sent sent{header->nlmsg_type,
            header->nlmsg_flags,
            info->ifi_index,
            (info->ifi_flags & IFF_UP) != 0,
            text_of(all[IFLA_IFNAME]),
            "",
            text_of(all[IFLA_IFALIAS]),
            number_of(all[IFLA_LINK]),
            number_of(all[IFLA_MTU]),
            number_of(all[IFLA_MASTER]),
            std::nullopt};
  if (all[IFLA_LINKINFO] == nullptr) return sent;
  std::array<nlattr*, IFLA_INFO_MAX + 1> parts{};
  CHECK(nla_parse_nested(parts.data(), IFLA_INFO_MAX, all[IFLA_LINKINFO], nullptr) == 0);
  sent.kind = text_of(parts[IFLA_INFO_KIND]);
  if (parts[IFLA_INFO_DATA] != nullptr) {
    std::array<nlattr*, IFLA_VLAN_MAX + 1> data{};
    CHECK(nla_parse_nested(data.data(), IFLA_VLAN_MAX, parts[IFLA_INFO_DATA], nullptr) == 0);
    const bool tagged = data[IFLA_VLAN_ID] != nullptr && nla_len(data[IFLA_VLAN_ID]) == 2;
    CHECK(tagged);
    if (tagged) sent.vlan = nla_get_u16(data[IFLA_VLAN_ID]);
  }
  return sent;
}

// libnl is C: nothing may be thrown where it calls, so nothing is required there.
/// Takes the requests of one socket and answers them, in the place of the kernel.
class FakeKernel {
 public:
  explicit FakeKernel(Netlink& netlink) {
    current_ = this;
    nl_cb* const hooks = nl_socket_get_cb(netlink.socket());
    nl_cb_overwrite_send(hooks, &FakeKernel::send);
    nl_cb_overwrite_recv(hooks, &FakeKernel::receive);
    nl_cb_put(hooks);
  }
  ~FakeKernel() { current_ = nullptr; }
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  std::map<std::string, FakeLink> links;
  /// Those that change something.
  std::vector<Sent> sent;
  /// Errno of the next requests that make a link, those that change one; 0 to obey.
  std::deque<int> refusals, refused_changes;
  /// Another process makes this one when ours is to be made.
  std::optional<FakeLink> raced;

 private:
  static int send(nl_sock* socket, nl_msg* message) {
    nlmsghdr* const header = nlmsg_hdr(message);
    header->nlmsg_pid = nl_socket_get_local_port(socket);
    if (header->nlmsg_seq == 0) header->nlmsg_seq = nl_socket_use_seq(socket);
    current_->answer(header);
    return static_cast<int>(header->nlmsg_len);
  }

  static int receive(nl_sock*, sockaddr_nl* from, unsigned char** buffer, ucred**) {
    *from = {};
    from->nl_family = AF_NETLINK;
    CHECK_FALSE(current_->answers_.empty());
    if (current_->answers_.empty()) return -NLE_FAILURE;
    const std::vector<unsigned char> answer = current_->answers_.front();
    current_->answers_.pop_front();
    *buffer = static_cast<unsigned char*>(std::malloc(answer.size()));
    std::memcpy(*buffer, answer.data(), answer.size());
    return static_cast<int>(answer.size());
  }

  void answer(nlmsghdr* header) {
    const Sent request = read(header);
    if (request.type == RTM_GETLINK) {
      const auto found = links.find(request.name);
      if (found == links.end()) return reply(header, ENODEV);
      return tell(header, found->first, found->second);
    }
    sent.push_back(request);
    reply(header, obey(request));
  }

  int obey(const Sent& request) {
    if ((request.flags & NLM_F_CREATE) != 0) {
      if (raced) {
        links[request.name] = *std::exchange(raced, std::nullopt);
        return EEXIST;
      }
      if (const int refused = next(refusals); refused != 0) return refused;
      links[request.name] = {40,
                             request.kind,
                             false,
                             0,
                             static_cast<int>(request.link.value_or(0)),
                             request.vlan.value_or(0),
                             request.mtu.value_or(1500),
                             ""};
      return 0;
    }
    for (auto& [name, link] : links) {
      if (link.index != request.index) continue;
      if (request.type == RTM_DELLINK) {
        links.erase(name);
        return 0;
      }
      if (const int refused = next(refused_changes); refused != 0) return refused;
      if (request.master) link.master = static_cast<int>(*request.master);
      if (!request.alias.empty()) link.alias = request.alias;
      link.up = link.up || request.up;
      return 0;
    }
    return ENODEV;
  }

  static int next(std::deque<int>& errors) {
    if (errors.empty()) return 0;
    const int error = errors.front();
    errors.pop_front();
    return error;
  }

  void reply(nlmsghdr* to, int error) {
    const MessageHandle message(nlmsg_alloc());
    nlmsg_put(message.get(), to->nlmsg_pid, to->nlmsg_seq, NLMSG_ERROR, 0, 0);
    nlmsgerr body{-error, *to};
    nlmsg_append(message.get(), &body, sizeof body, NLMSG_ALIGNTO);
    keep(nlmsg_hdr(message.get()));
  }

  void tell(nlmsghdr* to, const std::string& name, const FakeLink& link) {
    const MessageHandle message(nlmsg_alloc());
    nlmsg_put(message.get(), to->nlmsg_pid, to->nlmsg_seq, RTM_NEWLINK, 0, 0);
    ifinfomsg body{};
    body.ifi_index = link.index;
    body.ifi_flags = link.up ? IFF_UP : 0;
    nlmsg_append(message.get(), &body, sizeof body, NLMSG_ALIGNTO);
    nla_put_string(message.get(), IFLA_IFNAME, name.c_str());
    nla_put_u32(message.get(), IFLA_MTU, link.mtu);
    if (!link.alias.empty()) nla_put_string(message.get(), IFLA_IFALIAS, link.alias.c_str());
    if (link.master != 0) nla_put_u32(message.get(), IFLA_MASTER, static_cast<std::uint32_t>(link.master));
    if (link.parent != 0) nla_put_u32(message.get(), IFLA_LINK, static_cast<std::uint32_t>(link.parent));
    if (!link.kind.empty()) {
      nlattr* const info = nla_nest_start(message.get(), IFLA_LINKINFO);
      nla_put_string(message.get(), IFLA_INFO_KIND, link.kind.c_str());
      if (link.vlan != 0) {
        nlattr* const data = nla_nest_start(message.get(), IFLA_INFO_DATA);
        nla_put_u16(message.get(), IFLA_VLAN_ID, static_cast<std::uint16_t>(link.vlan));
        nla_nest_end(message.get(), data);
      }
      nla_nest_end(message.get(), info);
    }
    keep(nlmsg_hdr(message.get()));
  }

  void keep(const nlmsghdr* whole) {
    const auto* const bytes = reinterpret_cast<const unsigned char*>(whole);
    answers_.emplace_back(bytes, bytes + whole->nlmsg_len);
  }

  static inline thread_local FakeKernel* current_ = nullptr;
  std::deque<std::vector<unsigned char>> answers_;
};

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
