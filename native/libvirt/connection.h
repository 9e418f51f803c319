// A connection to a hypervisor: embedded in this process or through any libvirt URI.
#pragma once

#include <libvirt/libvirt.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "libvirt/event_relay.h"
#include "libvirt/handle.h"

namespace node_compute {

class Domain;
class UsageSampler;
struct UsageSample;

struct ConnectOptions {
  bool reap_orphans = false;
};

struct NodeInfo {
  std::string model;
  unsigned long memory_kib;
  unsigned cpus;
  unsigned mhz;
  unsigned numa_nodes;
  unsigned sockets;
  unsigned cores;
  unsigned threads;
};

struct DomainRecord {
  std::string uuid;
  std::string name;
  int id;      ///< -1 when not running
  int state;   ///< virDomainState
  int reason;  ///< virDomain*Reason of that state
  bool ours;   ///< carries the metadata element that was asked for
  bool saved;  ///< shut off, with its memory on disk: virDomainManagedSave
};

struct Versions {
  unsigned long hypervisor;
  unsigned long libvirt;
};

/// Every method blocks and belongs on the executor. All are safe to call at the same time; each throws
/// LibvirtError, or Closed once close() was called. Held by shared_ptr: calls under way keep it alive.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  static std::shared_ptr<Connection> open(const std::string& uri, const ConnectOptions& options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Refuses new calls at once, waits for those under way, then lets go of libvirt. Idempotent.
  void close();

  std::shared_ptr<Domain> define(const std::string& xml, unsigned flags);
  /// Throws LibvirtError with VIR_ERR_NO_DOMAIN where there is none.
  std::shared_ptr<Domain> lookup(const std::string& uuid);
  /// `metadata_uri` is the namespace of the metadata element that marks a domain as ours.
  std::vector<DomainRecord> list(unsigned flags, const std::string& metadata_uri);
  /// Of all domains that carry the metadata element, in one go; see usage.h.
  UsageSample usage(unsigned groups, const std::string& metadata_uri);
  NodeInfo node_info();
  std::string capabilities();
  std::string domain_capabilities(const std::string& emulator, const std::string& architecture,
                                  const std::string& machine, const std::string& virt_type);
  /// Whether there is a network filter of that name. Throws LibvirtError with VIR_ERR_NO_SUPPORT where the
  /// connection has no driver for them, as an embedded one.
  bool has_network_filter(const std::string& name);
  /// virConnectBaselineCPU of one CPU element, with all its features told.
  std::string expand_cpu(const std::string& cpu_xml);
  std::string hostname();
  Versions versions();
  /// Asks the other side. True, or throws what stood in the way.
  bool alive();
  /// Replaces the listener. Events that come before the first subscription are not kept.
  void subscribe(EventListener listener);

  /// Counts a call in while it lives; constructing one after close() throws Closed.
  class Use {
   public:
    explicit Use(Connection& connection);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    Connection& connection_;
  };

 private:
  Connection(virConnectPtr connection, std::shared_ptr<EventRelay> relay, const std::string& uri);
  static void closed(virConnectPtr, int reason, void* opaque) noexcept;
  void register_events();

  virConnectPtr connection_;
  std::shared_ptr<EventRelay> relay_;
  std::vector<int> callbacks_;
  std::unique_ptr<UsageSampler> sampler_;
  std::mutex mutex_;  // guards all below
  std::condition_variable idle_;
  std::size_t uses_ = 0;
  bool closed_ = false;
  bool released_ = false;
};

}  // namespace node_compute
