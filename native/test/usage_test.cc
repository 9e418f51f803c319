// What the sample of all domains is put together from: the kernel's files, libvirt's document, and the test
// driver.
#include "libvirt/usage.h"

#include <doctest/doctest.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "libvirt/connection.h"
#include "libvirt/domain.h"
#include "libvirt/process_figures.h"
#include "network/link_counters.h"

using namespace node_compute;

namespace {

const std::string kUuid = "22222222-2222-4222-8222-222222222222";

std::string document(const std::string& name, const std::string& uuid, const std::string& mark) {
  return "<domain type='test'><name>" + name + "</name><uuid>" + uuid + "</uuid><metadata><n:mark xmlns:n='" +
         mark + "'/></metadata><memory>8192</memory><vcpu>3</vcpu><os><type>hvm</type></os></domain>";
}

/// A process that only waits, under arguments of QEMU's form.
class Sleeper {
 public:
  explicit Sleeper(const std::string& uuid) : pid_(fork()) {
    if (pid_ != 0) return;
    execl("/bin/sh", "qemu", "-c", "kill -STOP $$", "-uuid", uuid.c_str(), nullptr);
    _exit(127);
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  ~Sleeper() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_;
};

}  // namespace

TEST_CASE("a stat file is read whatever the process calls itself") {
  const auto ticks = static_cast<std::uint64_t>(1'000'000'000 / sysconf(_SC_CLK_TCK));
  for (const std::string name : {"qemu", "a) R 1 2", "", "CPU 0/KVM"}) {
    CHECK(parse_cpu_time("4711 (" + name + ") S 1 2 3 4 5 6 7 8 9 10 150 50 13 14\n") == 200 * ticks);
  }
  CHECK_FALSE(parse_cpu_time(""));
  CHECK_FALSE(parse_cpu_time("4711 (qemu) S 1 2 3"));
  CHECK_FALSE(parse_cpu_time("4711 (qemu) S 1 2 3 4 5 6 7 8 9 10 x 50 13 14"));
}

TEST_CASE("resident memory is the second figure of statm") {
  CHECK(parse_resident("1000 25 3 1 0 5 0\n") == 25 * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)));
  for (const char* text : {"", "1000", "1000 x 3", "1000 "}) CHECK_FALSE(parse_resident(text));
}

TEST_CASE("the threads of vCPUs are known by their names") {
  CHECK(vcpu_of_thread("CPU 12/KVM\n") == 12U);
  CHECK(vcpu_of_thread("CPU 0/TCG") == 0U);
  for (const char* name : {"CPU x/KVM", "CPU 1", "worker", "CPU /KVM", "", "IO mon_iothread"}) {
    CHECK_FALSE(vcpu_of_thread(name));
  }
}

TEST_CASE("figures are those of the process, as long as there is one") {
  timespec own{};
  const auto figures = Process(getpid()).figures();
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  REQUIRE(figures);
  CHECK(figures->rss_bytes > 0);
  CHECK(figures->cpu_time_ns > 0);
  CHECK(figures->cpu_time_ns <=
        static_cast<std::uint64_t>(own.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(own.tv_nsec));
  Sleeper child(kUuid);
  const Process process(child.pid());
  CHECK(process.figures());
  child.end();
  CHECK_FALSE(process.figures());
}

TEST_CASE("a uuid that two processes claim belongs to neither") {
  const Sleeper one(kUuid);
  const auto found = [] { return find_processes({kUuid, "33333333-3333-4333-8333-333333333333"}); };
  for (int i = 0; i < 1000 && found().empty(); ++i) usleep(1000);  // until it has become the other program
  REQUIRE(found().size() == 1);
  CHECK(found().at(kUuid) == one.pid());
  Sleeper other(kUuid);
  for (int i = 0; i < 1000 && !found().empty(); ++i) usleep(1000);
  CHECK(found().empty());
  other.end();
  CHECK(found().at(kUuid) == one.pid());
}

TEST_CASE("counters of links are read from the kernel's table") {
  const auto counters = parse_link_counters(
      "Inter-|   Receive                                                |  Transmit\n"
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo "
      "colls "
      "carrier compressed\n"
      "    lo:  1 2 3 4 5 6 7 8 18446744073709551615 10 11 12 13 14 15 16\n"
      "veth:1:100 200 0 400 0 0 0 0 900 1000 0 1200 0 0 0 0\n"
      "broken: 1 2 3\n"
      "last: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16");
  CHECK(counters.size() == 3);
  CHECK(counters.at("lo").rx_dropped == 4);
  CHECK(counters.at("lo").tx_bytes == UINT64_MAX);
  CHECK(counters.at("veth:1").rx_packets == 200);
  CHECK(counters.at("veth:1").tx_dropped == 1200);
  CHECK(counters.at("last").tx_packets == 10);
  CHECK(read_link_counters().contains("lo"));
}

TEST_CASE("taps are those of the devices, not of what people wrote above them") {
  CHECK(taps_of("<domain><metadata><x><devices><interface type='bridge'><target "
                "dev='no'/></interface></devices></x>"
                "</metadata><devices>\n<disk><target dev='vda' bus='virtio'/></disk>\n"
                "<interface type='bridge'><mac address='a'/><target dev='tap1'/></interface>\n"
                "<interface type='user'><mac address='b'/></interface>\n"
                "<interface type='ethernet'><target dev='tap2'/></interface>"
                "<video><target dev='no'/></video></devices></domain>") ==
        std::vector<std::string>{"tap1", "tap2"});
  CHECK(taps_of("<domain/>").empty());
}

TEST_CASE("domains that carry the mark are sampled, and seen to come, change and go") {
  const auto connection = Connection::open("test:///default", {});
  const auto sample = [&] { return connection->usage(kUsageNetwork | kUsageVcpu, "urn:test").domains; };
  CHECK(sample().empty());
  const auto foreign =
      connection->define(document("foreign", "44444444-4444-4444-8444-444444444444", "urn:other"), 0);
  const auto domain = connection->define(document("one", kUuid, "urn:test"), 0);
  auto domains = sample();
  REQUIRE(domains.size() == 1);
  CHECK(domains[0].uuid == kUuid);
  CHECK(domains[0].name == "one");
  CHECK(domains[0].id == -1);
  CHECK(domains[0].vcpus == 3);
  CHECK(domains[0].memory_kib == 0);
  CHECK(domains[0].max_memory_kib == 8192);
  domain->start(0);
  domains = sample();
  REQUIRE(domains.size() == 1);
  CHECK(domains[0].id > 0);
  CHECK(domains[0].state == VIR_DOMAIN_RUNNING);
  CHECK(domains[0].memory_kib == 8192);
  CHECK_FALSE(domains[0].rss_bytes);
  domain->destroy(0);
  CHECK(sample().at(0).id == -1);
  // An event tells of another definition of the same domain.
  std::string more = document("one", kUuid, "urn:test");
  more.replace(more.find("<vcpu>3"), 7, "<vcpu>2");
  connection->define(more, 0);
  for (int i = 0; i < 1000 && sample().at(0).vcpus != 2; ++i) usleep(1000);
  CHECK(sample().at(0).vcpus == 2);
  domain->undefine(0);
  foreign->undefine(0);
  CHECK(sample().empty());
  connection->close();
  CHECK_THROWS(connection->usage(0, "urn:test"));
}
