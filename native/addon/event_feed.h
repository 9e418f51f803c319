// Events of a connection on their way to its JavaScript listener: buffered, bounded, in batches.
#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "addon/environment.h"
#include "libvirt/event.h"

namespace node_compute {

/// Fed by libvirt's event thread, drained by the environment's. Shared by both.
class EventFeed : public std::enable_shared_from_this<EventFeed> {
 public:
  EventFeed(std::shared_ptr<Completions> completions, std::uint32_t listener)
      : completions_(std::move(completions)), listener_(listener) {}

  void push(Event event);

 private:
  class Batch;
  /// About 10 MiB of events: a program that leaves its event loop blocked this long learns of the gap.
  static constexpr std::size_t kCapacity = 65'536;

  void deliver(Napi::Env env);

  const std::shared_ptr<Completions> completions_;
  const std::uint32_t listener_;
  std::mutex mutex_;  // guards all below
  std::vector<Event> events_;
  std::size_t dropped_ = 0;
};

}  // namespace node_compute
