// What all domains use, in one go: each figure from where it is cheapest.
#pragma once

#include <libvirt/libvirt.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "libvirt/disk_counters.h"
#include "libvirt/domain_changes.h"
#include "libvirt/process_figures.h"
#include "network/link_counters.h"

namespace node_compute {

/// Bits of `groups`: what is asked for beside state, CPU time and memory, which cost nothing more.
inline constexpr unsigned kUsageDisk = 1;
inline constexpr unsigned kUsageNetwork = 2;
inline constexpr unsigned kUsageVcpu = 4;

struct DomainUsage {
  std::string uuid;
  std::string name;
  int id = -1;  ///< -1 when not running
  int state = 0;
  bool saved = false;
  double timestamp_ms = 0;  ///< since the epoch
  unsigned vcpus = 0;
  std::uint64_t cpu_time_ns = 0;
  std::uint64_t memory_kib = 0;
  std::uint64_t max_memory_kib = 0;
  std::optional<std::uint64_t> rss_bytes;
  std::optional<DiskCounters> disk;
  std::optional<LinkCounters> network;  ///< as the host counts
  std::vector<std::uint64_t> vcpu_times_ns;
};

struct UsageSample {
  std::vector<DomainUsage> domains;
};

/**
 * State of all domains: one bulk call of libvirt, of the one group that asks no QEMU. CPU time and memory in
 * use: the kernel's figures of the process, in a file that stays open. vCPUs, memory and taps: asked once
 * when a domain starts, and again when an event tells of a change, or at the latest after half a minute.
 * Network: one read for all taps. Disks: see disk_counters.h. Where the processes are not to be seen, CPU
 * time comes from virDomainGetInfo.
 */
class UsageSampler {
 public:
  /// How near the domains are: in this process's libvirt, in another process of this host, or elsewhere.
  enum class Reach : std::uint8_t { process, host, remote };

  /// `uri`: of the daemon, where there is one.
  UsageSampler(Reach reach, std::string uri) : reach_(reach), uri_(std::move(uri)) {}

  /// Blocks; for long where a QEMU hangs and disks are asked for. Safe to call at the same time. Throws
  /// LibvirtError.
  UsageSample sample(virConnectPtr connection, DomainChanges& changes, unsigned groups,
                     const std::string& metadata_uri);
  /// Lets go of all domains.
  void clear();

 private:
  /// What is known of a domain since it was last asked.
  struct Known {
    std::string name;
    std::shared_ptr<DiskSource> source;
    int id = -1;
    bool ours = false;
    unsigned vcpus = 0;
    std::uint64_t memory_kib = 0;
    std::uint64_t max_memory_kib = 0;
    std::vector<std::string> taps;
    std::optional<Process> process;
    int looks = 0;  ///< how often its process was looked for in vain
    std::chrono::steady_clock::time_point asked{};
    std::uint64_t round = 0;
  };
  using KnownDomains = std::unordered_map<std::string, Known>;

  /// The domains that are ours, with what a new one or a changed one had to be asked.
  std::vector<KnownDomains::value_type*> look(const DomainChanges::Changed& changed,
                                              virDomainStatsRecordPtr* records,
                                              const std::string& metadata_uri);
  static bool ask(virDomainPtr domain, const std::string& metadata_uri, Known& known);
  void find_new_processes(const std::vector<KnownDomains::value_type*>& domains);
  static void read_process(Known& known, unsigned groups, DomainUsage& usage);
  /// One round of questions at a time. Blocks for long where a QEMU hangs.
  std::vector<std::optional<DiskCounters>> disks_of(const std::vector<std::shared_ptr<DiskSource>>& sources);

  const Reach reach_;
  const std::string uri_;
  std::mutex disks_mutex_;  // guards line_; taken after mutex_ was let go
  DiskLine line_;
  std::mutex mutex_;  // guards all below
  KnownDomains known_;
  std::uint64_t round_ = 0;
};

/// The names of a domain's taps, from libvirt's document of it.
std::vector<std::string> taps_of(const std::string& xml);

}  // namespace node_compute
