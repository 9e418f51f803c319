// One domain of a connection, running or not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "libvirt/connection.h"
#include "libvirt/handle.h"

namespace node_compute {

struct DomainInfo {
  int id;     ///< -1 when not running
  int state;  ///< virDomainState
  unsigned long max_memory_kib;
  unsigned long memory_kib;
  unsigned vcpus;
  std::uint64_t cpu_time_ns;
  bool saved;  ///< shut off, with its memory on disk: virDomainManagedSave
};

struct BlockJobInfo {
  int type;  ///< virDomainBlockJobType
  std::uint64_t current;
  std::uint64_t end;
};

std::string uuid_of(virDomainPtr domain);

/// Every method blocks and belongs on the executor; throws LibvirtError, or Closed after the connection's
/// close(). libvirt puts calls on one domain in order by itself.
class Domain {
 public:
  Domain(std::shared_ptr<Connection> connection, DomainHandle handle);
  ~Domain();
  Domain(const Domain&) = delete;
  Domain& operator=(const Domain&) = delete;

  const std::string& uuid() const noexcept { return uuid_; }
  const std::string& name() const noexcept { return name_; }

  void start(unsigned flags);     ///< virDomainCreateWithFlags
  void destroy(unsigned flags);   ///< virDomainDestroyFlags, without its sleep
  void shutdown(unsigned flags);  ///< virDomainShutdownFlags: a request to the guest
  void reboot(unsigned flags);    ///< virDomainReboot: a request to the guest
  void reset();                   ///< virDomainReset: the reset button
  void suspend();                 ///< virDomainSuspend: pause the vCPUs
  void resume();                  ///< virDomainResume
  void undefine(unsigned flags);  ///< virDomainUndefineFlags
  DomainInfo info();              ///< virDomainGetInfo
  std::string xml(unsigned flags);

  // domain_devices.cc
  void attach_device(const std::string& xml, unsigned flags);          ///< virDomainAttachDeviceFlags
  void detach_device_alias(const std::string& alias, unsigned flags);  ///< virDomainDetachDeviceAlias
  void block_resize(const std::string& disk, std::uint64_t bytes);     ///< virDomainBlockResize
  std::uint64_t block_capacity(const std::string& disk);               ///< virDomainGetBlockInfo, in bytes
  void block_copy(const std::string& disk, const std::string& xml, unsigned flags);  ///< virDomainBlockCopy
  void block_job_abort(const std::string& disk, unsigned flags);           ///< virDomainBlockJobAbort
  void set_block_threshold(const std::string& disk, std::uint64_t bytes);  ///< virDomainSetBlockThreshold
  std::optional<BlockJobInfo> block_job_info(const std::string& disk);     ///< virDomainGetBlockJobInfo

  /// Runs `call` on libvirt's handle, as a call under way: for calls that have files of their own.
  template <class Call>
  auto with(Call call) {
    const Connection::Use use(*connection_);
    return call(handle_.get());
  }

 private:
  std::shared_ptr<Connection> connection_;
  DomainHandle handle_;
  std::string uuid_;
  std::string name_;
};

}  // namespace node_compute
