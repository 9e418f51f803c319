// A QEMU that is ended and collected before libvirt hears of it.
#pragma once

#include <string>
#include <thread>

namespace node_compute {

/// libvirt ends a QEMU by a signal, sleeps 200 ms and looks whether it is gone; it does not sleep where the
/// signal finds nobody. To end QEMU first is not enough: its monitor closes while the kernel still has the
/// zombie, and libvirt, which takes that for a crash, signals and sleeps just so. Therefore this process
/// holds QEMU's sockets as well, so that libvirt hears nothing before QEMU is collected.
class EndedProcess {
 public:
  /// SIGTERM, as virDomainDestroy, to the QEMU of that domain; waits until it is collected, at most two
  /// seconds. Does nothing where it can't be told which process it is, or its sockets can't be held
  /// (pidfd_getfd(2): Linux 5.6, CAP_SYS_PTRACE).
  explicit EndedProcess(const std::string& uuid);

 private:
  /// Holds the sockets until this object goes; only for a moment, as another of libvirt's calls may wait for
  /// QEMU's answer and must be let go.
  std::jthread holder_;
};

}  // namespace node_compute
