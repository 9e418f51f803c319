// The kernel's part in a conversation about links, by libnl's own hooks: what was asked for, and answers as
// the test likes.
#pragma once

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
#include <utility>
#include <vector>

#include "network/netlink.h"

namespace node_compute::test {

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

inline std::string text_of(nlattr* attribute) {
  return attribute == nullptr ? "" : nla_get_string(attribute);
}

inline std::optional<unsigned> number_of(nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  return nla_get_u32(attribute);
}

inline Sent read_request(nlmsghdr* header) {
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
    const Sent request = read_request(header);
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

}  // namespace node_compute::test
