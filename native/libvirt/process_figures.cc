#include "libvirt/process_figures.h"

#include <dirent.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <memory>
#include <utility>

#include "executor/failure.h"
#include "storage/files.h"

namespace node_compute {

namespace {

constexpr std::size_t kFileBytes = 1024;
constexpr std::size_t kArgumentBytes = 256 * 1024;

struct CloseDirectory {
  void operator()(DIR* directory) const noexcept { closedir(directory); }
};

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

/// The names in a directory of /proc that are numbers.
std::vector<pid_t> numbers_in(const std::string& path) {
  std::vector<pid_t> numbers;
  const std::unique_ptr<DIR, CloseDirectory> directory(opendir(path.c_str()));
  if (!directory) return numbers;
  while (const dirent* entry = readdir(directory.get())) {
    const auto number = to_number(static_cast<const char*>(entry->d_name));
    if (number) numbers.push_back(static_cast<pid_t>(*number));
  }
  return numbers;
}

/// "" where it is gone, or not ours to read.
std::string read_proc(const std::string& path, std::size_t most) {
  try {
    return read_file(path, most);
  } catch (const SystemError&) {
    return "";
  }
}

}  // namespace

ProcFile::ProcFile(const std::string& path) : file_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
ProcFile::ProcFile(ProcFile&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
ProcFile& ProcFile::operator=(ProcFile&& other) noexcept {
  std::swap(file_, other.file_);
  return *this;
}
ProcFile::~ProcFile() {
  if (file_ >= 0) ::close(file_);
}

std::string ProcFile::read() const {
  std::array<char, kFileBytes> text;  // NOLINT(cppcoreguidelines-pro-type-member-init): read into
  const ssize_t length = file_ < 0 ? 0 : pread(file_, text.data(), text.size(), 0);
  return {text.data(), static_cast<std::size_t>(std::max<ssize_t>(length, 0))};
}

std::optional<std::uint64_t> parse_cpu_time(std::string_view stat) {
  static const std::uint64_t tick_ns = 1'000'000'000U / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK));
  // proc(5): the name, field 2, is whatever the process calls itself; 14 and 15 are ticks.
  const std::size_t name_end = stat.rfind(") ");
  if (name_end == std::string_view::npos) return std::nullopt;
  stat.remove_prefix(name_end + 2);
  std::uint64_t ticks = 0;
  for (int field = 3; field <= 15; ++field) {
    const std::size_t end = stat.find(' ');
    if (end == std::string_view::npos) return std::nullopt;
    if (field >= 14) {
      const auto number = to_number(stat.substr(0, end));
      if (!number) return std::nullopt;
      ticks += *number;
    }
    stat.remove_prefix(end + 1);
  }
  return ticks * tick_ns;
}

std::optional<std::uint64_t> parse_resident(std::string_view statm) {
  static const auto page_bytes = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const std::size_t begin = statm.find(' ');
  if (begin == std::string_view::npos) return std::nullopt;
  const std::size_t end = statm.find(' ', begin + 1);
  const auto pages = to_number(statm.substr(begin + 1, end - begin - 1));
  if (!pages) return std::nullopt;
  return *pages * page_bytes;
}

std::optional<unsigned> vcpu_of_thread(std::string_view name) {
  constexpr std::string_view kPrefix = "CPU ";
  if (name.substr(0, kPrefix.size()) != kPrefix) return std::nullopt;
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto number = to_number(name.substr(kPrefix.size(), slash - kPrefix.size()));
  if (!number) return std::nullopt;
  return static_cast<unsigned>(*number);
}

Process::Process(pid_t pid) : pid_(pid), memory_("/proc/" + std::to_string(pid) + "/statm") {}

std::optional<ProcessFigures> Process::figures() const {
  clockid_t clock{};
  timespec time{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &time) != 0) return std::nullopt;
  // After the clock: that this file still can be read proves that the number was not another's.
  const auto rss_bytes = parse_resident(memory_.read());
  if (!rss_bytes) return std::nullopt;
  const auto seconds = static_cast<std::uint64_t>(time.tv_sec);
  return ProcessFigures{seconds * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_nsec), *rss_bytes};
}

std::vector<std::uint64_t> Process::vcpu_times(unsigned vcpus) {
  if (vcpus != vcpus_ || threads_.empty()) {
    std::map<unsigned, ProcFile> found;
    const std::string tasks = "/proc/" + std::to_string(pid_) + "/task/";
    for (const pid_t thread : numbers_in(tasks)) {
      const std::string path = tasks + std::to_string(thread);
      const std::string name = read_proc(path + "/comm", 64);
      // Where one thread emulates all of them, it stands for the first.
      const auto vcpu = name.starts_with("ALL CPUs/") ? std::optional(0U) : vcpu_of_thread(name);
      if (vcpu) found.try_emplace(*vcpu, path + "/stat");
    }
    threads_.clear();
    for (auto& [vcpu, file] : found) threads_.push_back(std::move(file));
    vcpus_ = vcpus;
  }
  std::vector<std::uint64_t> times;
  for (const ProcFile& thread : threads_) {
    const auto time = parse_cpu_time(thread.read());
    if (!time) {
      threads_.clear();  // unplugged, or gone with its process: looked for anew the next time
      return {};
    }
    times.push_back(*time);
  }
  return times;
}

std::unordered_map<std::string, pid_t> find_processes(const std::vector<std::string>& uuids) {
  constexpr std::string_view kOption{"\0-uuid\0", 7};
  constexpr std::size_t kUuidLength = 36;
  std::unordered_map<std::string, pid_t> found;
  if (uuids.empty()) return found;
  for (const pid_t pid : numbers_in("/proc")) {
    const std::string arguments = read_proc("/proc/" + std::to_string(pid) + "/cmdline", kArgumentBytes);
    const std::size_t at = arguments.find(kOption);
    if (at == std::string::npos) continue;
    std::string uuid = arguments.substr(at + kOption.size(), kUuidLength);
    if (std::find(uuids.begin(), uuids.end(), uuid) == uuids.end()) continue;
    const auto [position, first] = found.emplace(std::move(uuid), pid);
    if (!first) position->second = 0;
  }
  std::erase_if(found, [](const auto& one) { return one.second == 0; });
  return found;
}

}  // namespace node_compute
