// Connection and Domain against libvirt's own test driver: no QEMU, no root, every call real.
#include "libvirt/connection.h"

#include <doctest/doctest.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "executor/failure.h"
#include "libvirt/domain.h"
#include "libvirt/error.h"

using namespace node_compute;

namespace {

std::shared_ptr<Connection> open_test() { return Connection::open("test:///default", {}); }

std::string document(const std::string& name, const std::string& uuid) {
  return "<domain type='test'><name>" + name + "</name><uuid>" + uuid +
         "</uuid><metadata><n:mark "
         "xmlns:n='urn:test'/></metadata><memory>8192</memory><os><type>hvm</type></os>"
         "</domain>";
}

const std::string kUuid = "11111111-1111-4111-8111-111111111111";

class Recorder {
 public:
  void operator()(Event event) {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
    arrived_.notify_all();
  }
  bool wait_for(int type) {
    std::unique_lock lock(mutex_);
    return arrived_.wait_for(lock, std::chrono::seconds(10), [&] {
      for (const Event& event : events_) {
        const auto* lifecycle = std::get_if<LifecycleEvent>(&event.what);
        if (lifecycle != nullptr && lifecycle->event == type && lifecycle->uuid == kUuid) return true;
      }
      return false;
    });
  }

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::vector<Event> events_;
};

}  // namespace

TEST_CASE("a domain is defined, started, paused, stopped and forgotten, and each step is an event") {
  const auto connection = open_test();
  const auto recorder = std::make_shared<Recorder>();
  connection->subscribe([recorder](Event event) { (*recorder)(std::move(event)); });
  const auto domain = connection->define(document("one", kUuid), 0);
  CHECK(domain->uuid() == kUuid);
  CHECK(domain->name() == "one");
  CHECK(domain->info().id == -1);
  const auto other = connection->lookup(kUuid);
  domain->start(0);
  CHECK(recorder->wait_for(VIR_DOMAIN_EVENT_STARTED));
  CHECK(domain->info().id > 0);
  CHECK(other->info().id == domain->info().id);
  domain->suspend();
  CHECK(domain->info().state == VIR_DOMAIN_PAUSED);
  domain->resume();
  domain->destroy(0);
  CHECK(recorder->wait_for(VIR_DOMAIN_EVENT_STOPPED));
  CHECK(domain->xml(0).find("<name>one</name>") != std::string::npos);
  domain->undefine(0);
  CHECK(recorder->wait_for(VIR_DOMAIN_EVENT_UNDEFINED));
  connection->close();
}

TEST_CASE("calls on devices that a domain does not have fail with libvirt's own fields") {
  const auto connection = open_test();
  const auto domain = connection->define(document("one", kUuid), 0);
  domain->start(0);
  const auto fails = [](auto call) {
    try {
      call();
    } catch (const LibvirtError& error) {
      return error.code != VIR_ERR_OK && error.what()[0] != '\0';
    }
    return false;
  };
  CHECK(fails([&] { domain->attach_device("<disk", VIR_DOMAIN_AFFECT_LIVE); }));
  CHECK(fails([&] { domain->detach_device_alias("none", VIR_DOMAIN_AFFECT_LIVE); }));
  CHECK(fails([&] { domain->block_resize("vdz", 1 << 20); }));
  CHECK(fails([&] { domain->block_capacity("vdz"); }));
  CHECK(fails([&] { domain->block_copy("vdz", "<disk/>", 0); }));
  CHECK(fails([&] { domain->block_job_abort("vdz", 0); }));
  CHECK(fails([&] { domain->block_job_info("vdz"); }));
  domain->destroy(0);
  domain->undefine(0);
  connection->close();
  CHECK_THROWS_AS(domain->block_capacity("vda"), Closed);
}

TEST_CASE("a list tells our domains from others by their metadata") {
  const auto connection = open_test();
  const auto domain = connection->define(document("one", kUuid), 0);
  bool ours = false;
  bool foreign = false;
  for (const DomainRecord& record : connection->list(0, "urn:test")) {
    if (record.uuid == kUuid) ours = record.ours;
    if (record.name == "test") foreign = !record.ours;
  }
  CHECK(ours);
  CHECK(foreign);
  domain->undefine(0);
}

TEST_CASE("an unknown domain and a wrong document fail with libvirt's own fields") {
  const auto connection = open_test();
  try {
    connection->lookup("22222222-2222-4222-8222-222222222222");
    FAIL("found");
  } catch (const LibvirtError& error) {
    CHECK(error.code == VIR_ERR_NO_DOMAIN);
    CHECK(error.domain == VIR_FROM_TEST);
    CHECK(error.level == VIR_ERR_ERROR);
    CHECK_FALSE(error.str1.empty());
  }
  try {
    connection->define("<domain", 0);
    FAIL("defined");
  } catch (const LibvirtError& error) {
    CHECK(error.domain == VIR_FROM_DOMAIN);
  }
  CHECK_THROWS_AS(Connection::open("no-such-driver:///", {}), LibvirtError);
}

TEST_CASE("a connection without network filters says so, and does not say that there is none of that name") {
  const auto connection = open_test();
  try {
    connection->has_network_filter("clean-traffic");
    FAIL("answered");
  } catch (const LibvirtError& error) {
    CHECK(error.code == VIR_ERR_NO_SUPPORT);
  }
}

TEST_CASE("an error is that of the thread it happened on") {
  const auto connection = open_test();
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        try {
          if (t % 2 == 0) {
            connection->lookup("22222222-2222-4222-8222-222222222222");
          } else {
            connection->define("<domain", 0);
          }
        } catch (const LibvirtError& error) {
          if (error.domain == (t % 2 == 0 ? VIR_FROM_TEST : VIR_FROM_DOMAIN)) ++right;
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 800);
}

TEST_CASE("close waits for calls under way, refuses later ones, and may come twice") {
  const auto connection = open_test();
  std::atomic<bool> stop{false};
  std::atomic<int> refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      while (!stop) {
        try {
          connection->list(0, "urn:test");
        } catch (const Closed&) {
          ++refused;
          return;
        }
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  connection->close();
  connection->close();
  for (auto& thread : threads) thread.join();
  CHECK(refused == 4);
  CHECK_THROWS_AS(connection->node_info(), Closed);
}

TEST_CASE("a domain outlives the last outside reference to its connection") {
  std::shared_ptr<Domain> domain;
  {
    const auto connection = open_test();
    domain = connection->lookup("6695eb01-f6a4-8304-79aa-97f2502e193f");
  }
  CHECK(domain->info().state == VIR_DOMAIN_RUNNING);
}

TEST_CASE("node and connection tell what they are") {
  const auto connection = open_test();
  CHECK(connection->node_info().cpus > 0);
  CHECK(connection->capabilities().find("<capabilities>") != std::string::npos);
  CHECK_FALSE(connection->hostname().empty());
  CHECK(connection->versions().libvirt > 0);
  CHECK(connection->alive());
}

TEST_CASE("connections come and go on many threads while events flow") {
  std::vector<std::thread> threads;
  std::atomic<int> closed{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 10; ++i) {
        const auto connection = open_test();
        connection->subscribe([](const Event&) {});
        const std::string uuid = "33333333-3333-4333-8333-33333333333" + std::to_string(t);
        const auto domain = connection->define(document("d" + std::to_string(t), uuid), 0);
        domain->start(0);
        domain->destroy(0);
        domain->undefine(0);
        connection->close();
        ++closed;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(closed == 40);
}
