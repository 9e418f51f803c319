// A live console: bytes to and from a serial port of a running guest.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "libvirt/domain.h"
#include "libvirt/handle.h"

namespace node_compute {

/// Nothing is read ahead: bytes are taken from libvirt only for a read() that waits, so that a slow reader
/// holds the guest up and not this process's memory. Work is done on the event loop's thread, which never
/// blocks.
class Console : public std::enable_shared_from_this<Console> {
 public:
  using Bytes = std::vector<std::uint8_t>;
  /// Called once, on any thread, with the failure or null.
  using Read = std::function<void(Bytes, std::exception_ptr)>;
  using Written = std::function<void(std::exception_ptr)>;

  /// virDomainOpenConsole. `device` is an alias, empty for the first port; `flags` are virDomainConsoleFlags.
  /// Blocks. Throws LibvirtError: VIR_ERR_OPERATION_FAILED where somebody has it open.
  static std::shared_ptr<Console> open(Domain& domain, const std::string& device, unsigned flags);
  ~Console();
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;

  /// One at a time. `done` gets what is there, as soon as there is some; nothing at the end.
  void read(Read done);
  /// One at a time. `done` when all of it was taken.
  void write(Bytes bytes, Written done);
  /// Idempotent. A read that waits gets the end, a write that waits Closed.
  void close();

 private:
  struct Writing {
    Bytes bytes;
    std::size_t sent;
    Written done;
  };

  explicit Console(StreamHandle stream) : stream_(std::move(stream)) {}
  static void ready(virStreamPtr, int events, void* opaque) noexcept;
  void on_ready(int events);
  /// Asks libvirt for the events that somebody waits for. With mutex_ held.
  void arm();

  // Holds libvirt's side of the connection.
  const StreamHandle stream_;
  // Taken before the stream's own lock. libvirt calls back without that one.
  std::mutex mutex_;  // guards all below
  Read reading_;
  std::optional<Writing> writing_;
  bool ended_ = false;
  bool closed_ = false;
};

}  // namespace node_compute
