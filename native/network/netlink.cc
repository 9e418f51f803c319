#include "network/netlink.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/errno.h>

#include <cerrno>
#include <exception>
#include <new>

#include "executor/failure.h"

namespace node_compute {

namespace {

void check(int result) {
  if (result < 0) throw std::bad_alloc();
}

[[noreturn]] void fail(const char* doing, int result) {
  // libnl folds many errno values into one code of its own; its text is all that is left.
  throw SystemError(EIO, std::string(doing) + " (" + nl_geterror(result) + ")");
}

}  // namespace

LinkMessage::LinkMessage(int type, int flags, int index) : message_(nlmsg_alloc_simple(type, flags)) {
  if (!message_) throw std::bad_alloc();
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  check(nlmsg_append(message_.get(), &header, sizeof header, NLMSG_ALIGNTO));
}

LinkMessage& LinkMessage::text(int attribute, const std::string& value) {
  check(nla_put_string(message_.get(), attribute, value.c_str()));
  return *this;
}

LinkMessage& LinkMessage::number(int attribute, std::uint32_t value) {
  check(nla_put_u32(message_.get(), attribute, value));
  return *this;
}

LinkMessage& LinkMessage::byte(int attribute, std::uint8_t value) {
  check(nla_put_u8(message_.get(), attribute, value));
  return *this;
}

LinkMessage& LinkMessage::half(int attribute, std::uint16_t value) {
  check(nla_put_u16(message_.get(), attribute, value));
  return *this;
}

LinkMessage& LinkMessage::bytes(int attribute, const void* data, int size) {
  check(nla_put(message_.get(), attribute, size, data));
  return *this;
}

LinkMessage& LinkMessage::nest(int attribute, const std::function<void(LinkMessage&)>& fill) {
  nlattr* const start = nla_nest_start(message_.get(), attribute);
  if (start == nullptr) throw std::bad_alloc();
  fill(*this);
  nla_nest_end(message_.get(), start);
  return *this;
}

LinkMessage& LinkMessage::up() {
  auto* const header = static_cast<ifinfomsg*>(nlmsg_data(nlmsg_hdr(message_.get())));
  header->ifi_flags |= IFF_UP;
  header->ifi_change |= IFF_UP;
  return *this;
}

Netlink::Netlink() : socket_(nl_socket_alloc()) {
  if (!socket_) throw std::bad_alloc();
  const int result = nl_connect(socket_.get(), NETLINK_ROUTE);
  if (result < 0) fail("cannot open a netlink socket", result);
  nl_socket_disable_auto_ack(socket_.get());
  nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, &Netlink::on_valid, this);
  nl_socket_modify_err_cb(socket_.get(), NL_CB_CUSTOM, &Netlink::on_error, this);
}

int Netlink::request(const LinkMessage& message, const OnMessage& on_message) {
  on_message_ = &on_message;
  nlmsghdr* const header = nlmsg_hdr(message.get());
  // One answer each: a question is answered by the link or the error, and an acknowledgement on top of it
  // would be read as the answer to the next question.
  const bool question = header->nlmsg_type == RTM_GETLINK;
  if (!question) header->nlmsg_flags |= NLM_F_ACK;
  send(message);
  const int result = question ? nl_recvmsgs_default(socket_.get()) : nl_wait_for_ack(socket_.get());
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (error_ != 0) return error_;
  if (result < 0) fail("cannot read from the netlink socket", result);
  return 0;
}

bool Netlink::dump(const LinkMessage& message, const OnMessage& on_message) {
  on_message_ = &on_message;
  send(message);
  const int result = nl_recvmsgs_default(socket_.get());
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (error_ != 0) throw SystemError(error_, "cannot list the links or their addresses");
  if (result == -NLE_DUMP_INTR) return false;
  if (result < 0) fail("cannot read from the netlink socket", result);
  return true;
}

void Netlink::send(const LinkMessage& message) {
  error_ = 0;
  const int result = nl_send_auto(socket_.get(), message.get());
  if (result < 0) fail("cannot write to the netlink socket", result);
}

int Netlink::on_valid(nl_msg* message, void* data) {
  auto* const self = static_cast<Netlink*>(data);
  // libnl is C: nothing may be thrown through it.
  try {
    if (*self->on_message_) (*self->on_message_)(nlmsg_hdr(message));
  } catch (...) {
    self->failure_ = std::current_exception();
  }
  return NL_OK;
}

int Netlink::on_error(sockaddr_nl*, nlmsgerr* error, void* data) {
  static_cast<Netlink*>(data)->error_ = -error->error;
  return NL_STOP;
}

}  // namespace node_compute
