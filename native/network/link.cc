#include "network/link.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <string_view>

#include "executor/failure.h"

namespace node_compute {

namespace {

std::string address_text(const nlattr* attribute) {
  const auto* const bytes = static_cast<const unsigned char*>(nla_data(attribute));
  std::string text;
  for (int i = 0; i < nla_len(attribute); ++i) {
    std::array<char, 4> part{};
    std::snprintf(part.data(), part.size(), "%02x", bytes[i]);
    if (i > 0) text += ':';
    text += part.data();
  }
  return text;
}

std::string text_of(const nlattr* attribute) {
  const std::string_view text(static_cast<const char*>(nla_data(attribute)),
                              static_cast<std::size_t>(nla_len(attribute)));
  return std::string(text.substr(0, text.find('\0')));
}

std::optional<Link> ask(Netlink& netlink, const LinkMessage& message, const std::string& what) {
  std::optional<Link> found;
  const int error = netlink.request(message, [&](nlmsghdr* header) {
    if (header->nlmsg_type == RTM_NEWLINK) found = parse_link(header);
  });
  if (error == ENODEV) return std::nullopt;
  if (error != 0) throw SystemError(error, "cannot look up the link", what);
  return found;
}

}  // namespace

void check_link_name(const std::string& name) {
  const bool bad_byte = std::any_of(name.begin(), name.end(), [](unsigned char byte) {
    return byte <= ' ' || byte == 0x7f || byte == '/' || byte == ':' || byte == '%';
  });
  if (name.empty() || name.size() >= IFNAMSIZ || name == "." || name == ".." || bad_byte) {
    throw InvalidArgument("no name for a network link: \"" + name + "\"");
  }
}

Link parse_link(nlmsghdr* header) {
  std::array<nlattr*, IFLA_MAX + 1> attributes{};
  if (nlmsg_parse(header, sizeof(ifinfomsg), attributes.data(), IFLA_MAX, nullptr) < 0) {
    throw SystemError(EPROTO, "cannot read the kernel's description of a link");
  }
  const auto* const info = static_cast<const ifinfomsg*>(nlmsg_data(header));
  Link link;
  link.index = info->ifi_index;
  link.up = (info->ifi_flags & IFF_UP) != 0;
  if (const nlattr* const name = attributes[IFLA_IFNAME]) link.name = text_of(name);
  if (const nlattr* const mtu = attributes[IFLA_MTU]) link.mtu = nla_get_u32(mtu);
  if (const nlattr* const master = attributes[IFLA_MASTER]) {
    link.master_index = static_cast<int>(nla_get_u32(master));
  }
  if (const nlattr* const parent = attributes[IFLA_LINK]) {
    link.parent_index = static_cast<int>(nla_get_u32(parent));
  }
  if (const nlattr* const address = attributes[IFLA_ADDRESS]) link.mac = address_text(address);
  if (const nlattr* const alias = attributes[IFLA_IFALIAS]) link.alias = text_of(alias);
  if (nlattr* const details = attributes[IFLA_LINKINFO]) {
    std::array<nlattr*, IFLA_INFO_MAX + 1> parts{};
    if (nla_parse_nested(parts.data(), IFLA_INFO_MAX, details, nullptr) == 0 && parts[IFLA_INFO_KIND]) {
      link.kind = text_of(parts[IFLA_INFO_KIND]);
    }
    if (link.kind == "vlan" && parts[IFLA_INFO_DATA] != nullptr) {
      const nlattr* const id = nla_find(static_cast<nlattr*>(nla_data(parts[IFLA_INFO_DATA])),
                                        nla_len(parts[IFLA_INFO_DATA]), IFLA_VLAN_ID);
      if (id != nullptr) link.vlan_id = nla_get_u16(id);
    }
  }
  return link;
}

std::optional<Link> find_link(Netlink& netlink, const std::string& name) {
  LinkMessage message(RTM_GETLINK, 0);
  message.text(IFLA_IFNAME, name).number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return ask(netlink, message, name);
}

std::optional<Link> get_link(const std::string& name) {
  check_link_name(name);
  Netlink netlink;
  auto link = find_link(netlink, name);
  if (link && link->master_index != 0) {
    LinkMessage message(RTM_GETLINK, 0, link->master_index);
    message.number(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    // Left without a name where it was removed between the two questions.
    if (const auto master = ask(netlink, message, name)) link->master = master->name;
  }
  return link;
}

std::array<unsigned char, 6> random_address() {
  std::array<unsigned char, 6> address{};
  if (getrandom(address.data(), address.size(), 0) != static_cast<ssize_t>(address.size())) {
    throw SystemError(errno, "cannot get random bytes");
  }
  address[0] = static_cast<unsigned char>((address[0] & 0xfc) | 0x02);
  return address;
}

bool delete_link(Netlink& netlink, const Link& link) {
  // By index: the name may be another link's by now.
  const int error = netlink.request(LinkMessage(RTM_DELLINK, 0, link.index));
  if (error == ENODEV) return false;
  if (error != 0) throw SystemError(error, "cannot remove the link", link.name);
  return true;
}

void remove_link(const std::string& name, const std::string& kind) {
  check_link_name(name);
  Netlink netlink;
  const auto link = find_link(netlink, name);
  if (!link) return;
  if (link->kind != kind) throw SystemError(EINVAL, "not of the kind " + kind + ", so left alone:", name);
  delete_link(netlink, *link);
}

void remove_tap(const std::string& name) { remove_link(name, "tun"); }

}  // namespace node_compute
