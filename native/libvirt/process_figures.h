// What the kernel says of a QEMU process: CPU time, resident memory, time of each vCPU. No question to QEMU,
// so one that hangs answers too.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace node_compute {

/// One open file of /proc about a process or thread. It goes on to mean the same when its number is given to
/// another.
class ProcFile {
 public:
  /// Not open where there is no such file.
  explicit ProcFile(const std::string& path);
  ProcFile(ProcFile&& other) noexcept;
  ProcFile& operator=(ProcFile&& other) noexcept;
  ProcFile(const ProcFile&) = delete;
  ProcFile& operator=(const ProcFile&) = delete;
  ~ProcFile();

  /// At most a kilobyte; "" once the process is gone.
  std::string read() const;

 private:
  int file_;
};

struct ProcessFigures {
  std::uint64_t cpu_time_ns;  ///< user and system, of all threads there ever were
  std::uint64_t rss_bytes;
};

class Process {
 public:
  explicit Process(pid_t pid);

  /// Nothing once it is gone. Some microsecond: the kernel's clock of the process, and `statm`, where `stat`
  /// takes three.
  std::optional<ProcessFigures> figures() const;
  /// CPU time in nanoseconds, in ticks of 10 ms, of each vCPU in the order of their numbers, or of the one
  /// thread that runs all of them. Empty where QEMU does not name its threads.
  std::vector<std::uint64_t> vcpu_times(unsigned vcpus);

 private:
  pid_t pid_;
  ProcFile memory_;
  unsigned vcpus_ = 0;
  std::vector<ProcFile> threads_;
};

/// User and system time in a `stat` file; nothing where it can't be one.
std::optional<std::uint64_t> parse_cpu_time(std::string_view stat);

/// Resident bytes in a `statm` file.
std::optional<std::uint64_t> parse_resident(std::string_view statm);

/// The number in `CPU 3/KVM` or `CPU 3/TCG`, QEMU's name of the thread of a vCPU.
std::optional<unsigned> vcpu_of_thread(std::string_view name);

/// The QEMU processes of those domains, by their arguments: one look through /proc, wherever libvirt keeps
/// its files and in whatever namespace it runs. Anybody may start a process with such arguments, so a uuid
/// that two processes have is left out.
std::unordered_map<std::string, pid_t> find_processes(const std::vector<std::string>& uuids);

}  // namespace node_compute
