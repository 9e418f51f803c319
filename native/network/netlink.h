// One conversation with the kernel's rtnetlink: requests about links, answers with the kernel's own errno.
#pragma once

#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/socket.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>

namespace node_compute {

struct FreeMessage {
  void operator()(nl_msg* message) const noexcept { nlmsg_free(message); }
};
using MessageHandle = std::unique_ptr<nl_msg, FreeMessage>;

/// A request about one link (RTM_NEWLINK, RTM_GETLINK, RTM_DELLINK) under construction.
class LinkMessage {
 public:
  /// `index` 0 where the link is named by an attribute. Throws std::bad_alloc, as all that follow.
  LinkMessage(int type, int flags, int index = 0);

  LinkMessage& text(int attribute, const std::string& value);
  LinkMessage& number(int attribute, std::uint32_t value);
  LinkMessage& byte(int attribute, std::uint8_t value);
  LinkMessage& half(int attribute, std::uint16_t value);
  LinkMessage& bytes(int attribute, const void* data, int size);
  /// `fill` adds what stands inside.
  LinkMessage& nest(int attribute, const std::function<void(LinkMessage&)>& fill);
  /// Asks for the link to be set up.
  LinkMessage& up();

  nl_msg* get() const noexcept { return message_.get(); }

 private:
  MessageHandle message_;
};

/// Not for two threads at a time. Belongs to the network namespace of the thread that made it.
class Netlink {
 public:
  using OnMessage = std::function<void(nlmsghdr*)>;

  /// Throws SystemError.
  Netlink();

  /// Sends and waits for the answer or the acknowledgement. Returns 0 or the kernel's errno; throws
  /// SystemError where the conversation itself fails.
  int request(const LinkMessage& message, const OnMessage& on_message = {});
  /// Sends a dump and hands over every message of the answer. False where links changed meanwhile: ask again.
  bool dump(const LinkMessage& message, const OnMessage& on_message);

  /// For tests that stand in for the kernel, by libnl's own hooks.
  nl_sock* socket() const noexcept { return socket_.get(); }

 private:
  struct FreeSocket {
    void operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }
  };

  void send(const LinkMessage& message);
  static int on_valid(nl_msg* message, void* self);
  static int on_error(sockaddr_nl* address, nlmsgerr* error, void* self);

  std::unique_ptr<nl_sock, FreeSocket> socket_;
  const OnMessage* on_message_ = nullptr;
  std::exception_ptr failure_;
  int error_ = 0;
};

}  // namespace node_compute
