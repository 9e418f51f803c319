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

struct ThreadFigures {
  std::uint64_t cpu_time_ns = 0;  ///< user and system; the kernel counts in ticks of 10 ms
  std::uint64_t rss_bytes = 0;    ///< of the whole process
};

/// One open `stat` file of /proc. It goes on to mean the same process or thread when its number is given to
/// another.
class StatFile {
 public:
  /// Not open where there is no such file.
  explicit StatFile(const std::string& path);
  StatFile(StatFile&& other) noexcept;
  StatFile& operator=(StatFile&& other) noexcept;
  StatFile(const StatFile&) = delete;
  StatFile& operator=(const StatFile&) = delete;
  ~StatFile();

  bool open() const noexcept { return file_ >= 0; }
  /// Nothing once the process is gone.
  std::optional<ThreadFigures> read() const;

 private:
  int file_;
};

class Process {
 public:
  explicit Process(pid_t pid);

  pid_t pid() const noexcept { return pid_; }
  std::optional<ThreadFigures> figures() const { return stat_.read(); }
  /// CPU time in nanoseconds of each vCPU in the order of their numbers, or of the one thread that runs all
  /// of them. Empty where QEMU does not name its threads.
  std::vector<std::uint64_t> vcpu_times(unsigned vcpus);

 private:
  pid_t pid_;
  StatFile stat_;
  unsigned vcpus_ = 0;
  std::vector<StatFile> threads_;
};

/// `text` is what a `stat` file holds; nothing where it can't be that.
std::optional<ThreadFigures> parse_stat(std::string_view text);

/// The number in `CPU 3/KVM` or `CPU 3/TCG`, QEMU's name of the thread of a vCPU.
std::optional<unsigned> vcpu_of_thread(std::string_view name);

/// The QEMU processes of those domains, by their arguments: one look through /proc, wherever libvirt keeps
/// its files and in whatever namespace it runs. Anybody may start a process with such arguments, so a uuid
/// that two processes have is left out.
std::unordered_map<std::string, pid_t> find_processes(const std::vector<std::string>& uuids);

}  // namespace node_compute
