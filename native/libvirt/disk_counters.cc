#include "libvirt/disk_counters.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "executor/signals_blocked.h"

namespace node_compute {

namespace {

using namespace std::chrono_literals;

constexpr auto kPatience = 2s;
/// A daemon answers in less, unless it is busy.
constexpr auto kSilence = 20ms;

/// Null where it has gone.
virDomainPtr domain_of(DiskSource& source, const DiskLine& line) {
  if (!line) return source.domain.get();
  if (source.line != line || !source.on_line) {
    unsigned char uuid[VIR_UUID_BUFLEN];
    virDomainGetUUID(source.domain.get(), uuid);
    source.on_line.reset();
    source.line = line;
    source.on_line.reset(virDomainLookupByUUID(line.get(), uuid));
  }
  return source.on_line.get();
}

std::optional<DiskCounters> ask(DiskSource& source, const DiskLine& line) {
  const virDomainPtr domain = domain_of(source, line);
  virDomainBlockStatsStruct stats{};
  if (domain == nullptr || virDomainBlockStats(domain, "", &stats, sizeof stats) < 0) {
    virResetLastError();  // it has ended, or has no disk
    return std::nullopt;
  }
  const auto count = [](long long value) { return static_cast<std::uint64_t>(std::max(value, 0LL)); };
  return DiskCounters{count(stats.rd_req), count(stats.rd_bytes), count(stats.wr_req), count(stats.wr_bytes)};
}

class Round {
 public:
  Round(const std::vector<std::shared_ptr<DiskSource>>& sources, DiskLine line)
      : line_(std::move(line)), answers_(sources.size()) {
    for (std::size_t i = 0; i < sources.size(); ++i) {
      if (!sources[i]->asked.exchange(true)) waiting_.emplace_back(i, sources[i]);
    }
    left_ = waiting_.size();
  }

  std::size_t size() const noexcept { return waiting_.size(); }

  /// Asks one after the other until none waits. On any thread.
  void work() {
    std::unique_lock lock(mutex_);
    while (next_ < waiting_.size()) {
      // A copy: the source outlives its sampler while QEMU is being asked.
      const auto [index, source] = waiting_[next_++];
      lock.unlock();
      const auto answer = ask(*source, line_);
      source->asked = false;
      lock.lock();
      answers_[index] = answer;
      --left_;
      progress_.notify_all();
    }
  }

  /// `on_silence` is called once at most.
  DiskAnswers wait(const std::function<void()>& on_silence) {
    std::unique_lock lock(mutex_);
    bool silent = false;
    while (left_ > 0) {
      const auto progressed = [this, before = left_] { return left_ < before; };
      if (progress_.wait_for(lock, kSilence, progressed)) continue;
      if (!std::exchange(silent, true)) on_silence();
      if (!progress_.wait_for(lock, kPatience - kSilence, progressed)) break;
    }
    for (; next_ < waiting_.size(); ++next_, --left_) waiting_[next_].second->asked = false;
    over_ = true;
    progress_.notify_all();
    return {answers_, left_ > 0};
  }

  /// A call has those sent that were not seen. Again and again until the round is over; on its own thread.
  void keep_awake() {
    std::unique_lock lock(mutex_);
    while (!over_) {
      lock.unlock();
      unsigned long version = 0;
      if (virConnectGetLibVersion(line_.get(), &version) < 0) virResetLastError();
      lock.lock();
      progress_.wait_for(lock, kSilence, [this] { return over_; });
    }
  }

 private:
  const DiskLine line_;
  std::mutex mutex_;  // guards all below
  std::condition_variable progress_;
  std::vector<std::pair<std::size_t, std::shared_ptr<DiskSource>>> waiting_;
  std::size_t next_ = 0;
  std::size_t left_ = 0;
  bool over_ = false;
  std::vector<std::optional<DiskCounters>> answers_;
};

/// False where there is no thread to be had.
bool detach(const char* name, std::function<void()> work) {
  try {
    std::thread([name, work = std::move(work)] {
      pthread_setname_np(pthread_self(), name);
      work();
    }).detach();
    return true;
  } catch (const std::system_error&) {
    return false;
  }
}

}  // namespace

DiskLine open_disk_line(const std::string& uri) {
  DiskLine line(virConnectOpenAuth(uri.c_str(), virConnectAuthPtrDefault, 0), [](virConnectPtr raw) {
    if (raw != nullptr) virConnectClose(raw);
  });
  if (!line) virResetLastError();
  return line;
}

DiskAnswers ask_disk_counters(const std::vector<std::shared_ptr<DiskSource>>& sources, std::size_t threads,
                              const DiskLine& line) {
  const auto round = std::make_shared<Round>(sources, line);
  const SignalsBlocked blocked;
  // Out of threads: those that there are go on, and without any the round ends with no answer.
  for (std::size_t i = 0; i < std::min(threads, round->size()); ++i) {
    if (!detach("compute-disks", [round] { round->work(); })) break;
  }
  return round->wait([&] {
    if (line) detach("compute-awake", [round] { round->keep_awake(); });
  });
}

}  // namespace node_compute
