#include "libvirt/usage.h"

#include <libvirt/virterror.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "libvirt/domain.h"
#include "libvirt/error.h"

namespace node_compute {

namespace {

using namespace std::chrono_literals;

/// No event tells of vCPUs that come or go in a running guest: each domain is asked again after this time, a
/// few in one sample, since to a daemon each question is a journey.
constexpr auto kLongestKnown = 30s;
constexpr int kOldestAsked = 8;
/// A QEMU that was started a moment ago may not yet be seen.
constexpr int kProcessLooks = 3;
/// The questions to QEMU spend half of their time on the way.
constexpr std::size_t kOwnThreads = 8;
/// A daemon takes five calls at a time of one client.
constexpr std::size_t kDaemonThreads = 4;

struct FreeRecords {
  void operator()(virDomainStatsRecordPtr* records) const noexcept { virDomainStatsRecordListFree(records); }
};
using Records = std::unique_ptr<virDomainStatsRecordPtr, FreeRecords>;

int state_of(const virDomainStatsRecord& record) {
  for (int i = 0; i < record.nparams; ++i) {
    const virTypedParameter& parameter = record.params[i];
    if (std::string_view(static_cast<const char*>(parameter.field)) == "state.state")
      return parameter.value.i;
  }
  return VIR_DOMAIN_NOSTATE;
}

double now_ms() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

/// Nothing where none of them is there, or the links were not read.
std::optional<LinkCounters> sum_of(const std::vector<std::string>& taps, const LinkCountersByName& links) {
  std::optional<LinkCounters> sum;
  for (const std::string& tap : taps) {
    const auto link = links.find(tap);
    if (link == links.end()) continue;
    if (!sum) sum.emplace();
    sum->rx_bytes += link->second.rx_bytes;
    sum->rx_packets += link->second.rx_packets;
    sum->rx_dropped += link->second.rx_dropped;
    sum->tx_bytes += link->second.tx_bytes;
    sum->tx_packets += link->second.tx_packets;
    sum->tx_dropped += link->second.tx_dropped;
  }
  return sum;
}

}  // namespace

UsageSample UsageSampler::sample(virConnectPtr connection, DomainChanges& changes, unsigned groups,
                                 const std::string& metadata_uri) {
  UsageSample sample;
  std::vector<std::shared_ptr<DiskSource>> sources;
  std::vector<std::size_t> source_of;
  {
    const std::lock_guard lock(mutex_);
    const auto changed = changes.take();
    virDomainStatsRecordPtr* raw = nullptr;
    if (virConnectGetAllDomainStats(connection, VIR_DOMAIN_STATS_STATE, &raw, 0) < 0) {
      for (auto& [uuid, known] : known_) known.asked = {};  // what was taken from the changes is not lost
      throw LibvirtError::last("virConnectGetAllDomainStats");
    }
    const Records records(raw);
    const auto domains = look(changed, raw, metadata_uri);
    find_new_processes(domains);
    LinkCountersByName links;
    if ((groups & kUsageNetwork) != 0) links = read_link_counters();

    sample.domains.resize(domains.size());
    std::size_t at = 0;
    for (virDomainStatsRecordPtr* record = raw; *record != nullptr && at < domains.size(); ++record) {
      auto& [uuid, known] = *domains[at];
      if (uuid_of((*record)->dom) != uuid) continue;
      DomainUsage& usage = sample.domains[at];
      usage.uuid = uuid;
      usage.name = known.name;
      usage.id = known.id;
      usage.state = state_of(**record);
      usage.saved = usage.state == VIR_DOMAIN_SHUTOFF && virDomainHasManagedSaveImage((*record)->dom, 0) == 1;
      usage.timestamp_ms = now_ms();
      usage.vcpus = known.vcpus;
      usage.memory_kib = known.id >= 0 ? known.memory_kib : 0;
      usage.max_memory_kib = known.max_memory_kib;
      if (known.id >= 0) {
        read_process(known, groups, usage);
        usage.network = sum_of(known.taps, links);
        if ((groups & kUsageDisk) != 0) {
          sources.push_back(known.source);
          source_of.push_back(at);
        }
      }
      ++at;
    }
  }
  // Not under the lock: who asks for no disks must not wait for a hung QEMU.
  const auto disks = disks_of(sources);
  for (std::size_t i = 0; i < disks.size(); ++i) sample.domains[source_of[i]].disk = disks[i];
  return sample;
}

void UsageSampler::clear() {
  {
    const std::lock_guard lock(mutex_);
    known_.clear();
  }
  const std::lock_guard lock(disks_mutex_);
  line_.reset();
}

std::vector<UsageSampler::KnownDomains::value_type*> UsageSampler::look(const DomainChanges::Changed& changed,
                                                                        virDomainStatsRecordPtr* records,
                                                                        const std::string& metadata_uri) {
  const auto now = std::chrono::steady_clock::now();
  ++round_;
  int old_asked = 0;
  std::vector<KnownDomains::value_type*> ours;
  for (; *records != nullptr; ++records) {
    const virDomainPtr domain = (*records)->dom;
    const int id = static_cast<int>(virDomainGetID(domain));
    auto& one = *known_.try_emplace(uuid_of(domain)).first;
    auto& [uuid, known] = one;
    const bool other = !known.source || known.id != id;
    const bool old = now - known.asked > kLongestKnown && old_asked < kOldestAsked;
    if (other || old || changed.contains(uuid)) {
      if (!other && old) ++old_asked;
      if (other) {
        known = {};
        known.name = virDomainGetName(domain);
        known.id = id;
        virDomainRef(domain);
        known.source = std::make_shared<DiskSource>(DomainHandle(domain));
      }
      if (!ask(domain, metadata_uri, known)) continue;
      known.asked = now;
    }
    known.round = round_;
    if (known.ours) ours.push_back(&one);
  }
  std::erase_if(known_, [this](const auto& one) { return one.second.round != round_; });
  return ours;
}

/// False where it has gone, or can't say just now: it is then asked anew by the next sample.
bool UsageSampler::ask(virDomainPtr domain, const std::string& metadata_uri, Known& known) {
  const StringHandle metadata(virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, metadata_uri.c_str(),
                                                   VIR_DOMAIN_AFFECT_CURRENT));
  known.ours = metadata != nullptr;
  if (!known.ours) {
    const bool marked_otherwise = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_METADATA;
    virResetLastError();
    return marked_otherwise;
  }
  virDomainInfo info{};
  const StringHandle xml(virDomainGetInfo(domain, &info) == 0 ? virDomainGetXMLDesc(domain, 0) : nullptr);
  if (!xml) {
    virResetLastError();
    return false;
  }
  known.vcpus = info.nrVirtCpu;
  known.memory_kib = info.memory;
  known.max_memory_kib = info.maxMem;
  known.taps = taps_of(xml.get());
  known.looks = 0;
  return true;
}

void UsageSampler::find_new_processes(const std::vector<KnownDomains::value_type*>& domains) {
  if (reach_ == Reach::remote) return;
  std::vector<std::string> wanted;
  for (auto* const domain : domains) {
    Known& known = domain->second;
    if (known.id >= 0 && !known.process && known.looks++ < kProcessLooks) wanted.push_back(domain->first);
  }
  const auto found = find_processes(wanted);
  for (auto* const domain : domains) {
    const auto process = found.find(domain->first);
    if (process != found.end()) domain->second.process.emplace(process->second);
  }
}

void UsageSampler::read_process(Known& known, unsigned groups, DomainUsage& usage) {
  const auto figures = known.process ? known.process->figures() : std::nullopt;
  if (!figures) {
    virDomainInfo info{};
    if (virDomainGetInfo(known.source->domain.get(), &info) == 0)
      usage.cpu_time_ns = info.cpuTime;
    else
      virResetLastError();
    return;
  }
  usage.cpu_time_ns = figures->cpu_time_ns;
  usage.rss_bytes = figures->rss_bytes;
  if ((groups & kUsageVcpu) != 0) usage.vcpu_times_ns = known.process->vcpu_times(known.vcpus);
}

std::vector<std::optional<DiskCounters>> UsageSampler::disks_of(
    const std::vector<std::shared_ptr<DiskSource>>& sources) {
  if (sources.empty()) return {};
  const std::lock_guard lock(disks_mutex_);
  if (reach_ == Reach::process) return ask_disk_counters(sources, kOwnThreads, nullptr).counters;
  if (!line_ || virConnectIsAlive(line_.get()) != 1) line_ = open_disk_line(uri_);
  if (!line_) return {};
  const auto answers = ask_disk_counters(sources, kDaemonThreads, line_);
  if (answers.hangs) line_.reset();
  return answers.counters;
}

std::vector<std::string> taps_of(const std::string& xml) {
  std::vector<std::string> taps;
  // Titles, descriptions and metadata, which people write, stand before the devices.
  const std::size_t devices = xml.rfind("<devices>");
  if (devices == std::string::npos) return taps;
  constexpr std::string_view kTarget = "<target dev='";
  for (std::size_t at = xml.find("<interface ", devices); at != std::string::npos;
       at = xml.find("<interface ", at + 1)) {
    const std::size_t end = xml.find("</interface>", at);
    const std::size_t target = xml.find(kTarget, at);
    if (end == std::string::npos || target > end) continue;
    const std::size_t begin = target + kTarget.size();
    taps.push_back(xml.substr(begin, xml.find('\'', begin) - begin));
  }
  return taps;
}

}  // namespace node_compute
