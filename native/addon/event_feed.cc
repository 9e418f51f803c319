#include "addon/event_feed.h"

#include <utility>
#include <variant>

#include "addon/statistics_to_js.h"

namespace node_compute {

class EventFeed::Batch final : public EnvironmentCompletion {
 public:
  explicit Batch(std::shared_ptr<EventFeed> feed) : feed_(std::move(feed)) {}
  void settle(Napi::Env env) override { feed_->deliver(env); }
  bool ends_operation() const noexcept override { return false; }

 private:
  std::shared_ptr<EventFeed> feed_;
};

namespace {

struct ToJs {
  Napi::Object object;

  void operator()(const LifecycleEvent& event) {
    of_domain("lifecycle", event);
    object.Set("event", event.event);
    object.Set("detail", event.detail);
    object.Set("id", event.id);
  }
  void operator()(const RebootEvent& event) { of_domain("reboot", event); }
  void operator()(const DeviceEvent& event) {
    of_domain(event.removed ? "device-removed" : "device-removal-failed", event);
    object.Set("alias", event.alias);
  }
  void operator()(const BlockJobEvent& event) {
    of_domain("block-job", event);
    object.Set("disk", event.disk);
    object.Set("job", event.job);
    object.Set("status", event.status);
  }
  void operator()(const IoErrorEvent& event) {
    of_domain("io-error", event);
    object.Set("path", event.path);
    object.Set("alias", event.alias);
    object.Set("action", event.action);
    object.Set("reason", event.reason);
  }
  void operator()(const WatchdogEvent& event) {
    of_domain("watchdog", event);
    object.Set("action", event.action);
  }
  void operator()(const AgentEvent& event) {
    of_domain("agent", event);
    object.Set("state", event.state);
    object.Set("reason", event.reason);
  }
  void operator()(const JobCompletedEvent& event) {
    of_domain("job-completed", event);
    object.Set("statistics", statistics_to_js(object.Env(), event.statistics));
  }
  void operator()(const BalloonEvent& event) {
    of_domain("balloon", event);
    object.Set("memoryKib", static_cast<double>(event.memory_kib));
  }
  void operator()(const BlockThresholdEvent& event) {
    of_domain("block-threshold", event);
    object.Set("disk", event.disk);
    object.Set("path", event.path);
    object.Set("threshold", static_cast<double>(event.threshold));
    object.Set("excess", static_cast<double>(event.excess));
  }
  void operator()(const CloseEvent& event) {
    object.Set("type", "close");
    object.Set("reason", event.reason);
  }

 private:
  void of_domain(const char* type, const DomainEvent& event) {
    object.Set("type", type);
    object.Set("uuid", event.uuid);
    object.Set("name", event.name);
  }
};

}  // namespace

void EventFeed::push(Event event) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    if (events_.size() >= kCapacity) {
      ++dropped_;
      return;
    }
    first = events_.empty();
    events_.push_back(std::move(event));
  }
  if (first) completions_->push(std::make_unique<Batch>(shared_from_this()));
}

void EventFeed::deliver(Napi::Env env) {
  std::vector<Event> events;
  std::size_t dropped = 0;
  {
    const std::lock_guard lock(mutex_);
    events.swap(events_);
    dropped = std::exchange(dropped_, 0);
  }
  const Napi::Array batch = Napi::Array::New(env);
  std::uint32_t index = 0;
  for (const Event& event : events) {
    const Napi::Object object = Napi::Object::New(env);
    object.Set("timestamp", event.timestamp_ms);
    std::visit(ToJs{object}, event.what);
    batch.Set(index++, object);
  }
  if (dropped > 0) {
    const Napi::Object gap = Napi::Object::New(env);
    gap.Set("type", "gap");
    gap.Set("count", static_cast<double>(dropped));
    gap.Set("timestamp", events.back().timestamp_ms);
    batch.Set(index, gap);
  }
  Environment::of(env).call_listener(listener_, batch);
}

}  // namespace node_compute
