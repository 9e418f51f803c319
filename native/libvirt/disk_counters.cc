#include "libvirt/disk_counters.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "executor/signals_blocked.h"

namespace node_compute {

namespace {

constexpr std::chrono::seconds kPatience{2};

std::optional<DiskCounters> ask(virDomainPtr domain) {
  virDomainBlockStatsStruct stats{};
  if (virDomainBlockStats(domain, "", &stats, sizeof stats) < 0) {
    virResetLastError();  // it has ended, or has no disk
    return std::nullopt;
  }
  const auto count = [](long long value) { return static_cast<std::uint64_t>(std::max(value, 0LL)); };
  return DiskCounters{count(stats.rd_req), count(stats.rd_bytes), count(stats.wr_req), count(stats.wr_bytes)};
}

class Round {
 public:
  explicit Round(const std::vector<std::shared_ptr<DiskSource>>& sources) : answers_(sources.size()) {
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
      const auto answer = ask(source->domain.get());
      source->asked = false;
      lock.lock();
      answers_[index] = answer;
      --left_;
      progress_.notify_one();
    }
  }

  std::vector<std::optional<DiskCounters>> wait() {
    std::unique_lock lock(mutex_);
    while (left_ > 0) {
      const std::size_t before = left_;
      if (!progress_.wait_for(lock, kPatience, [&] { return left_ < before; })) break;
    }
    for (; next_ < waiting_.size(); ++next_) waiting_[next_].second->asked = false;
    return answers_;
  }

 private:
  std::mutex mutex_;  // guards all below
  std::condition_variable progress_;
  std::vector<std::pair<std::size_t, std::shared_ptr<DiskSource>>> waiting_;
  std::size_t next_ = 0;
  std::size_t left_ = 0;
  std::vector<std::optional<DiskCounters>> answers_;
};

}  // namespace

std::vector<std::optional<DiskCounters>> ask_disk_counters(
    const std::vector<std::shared_ptr<DiskSource>>& sources, std::size_t threads) {
  const auto round = std::make_shared<Round>(sources);
  const SignalsBlocked blocked;
  for (std::size_t i = 0; i < std::min(threads, round->size()); ++i) {
    try {
      std::thread([round] {
        pthread_setname_np(pthread_self(), "compute-disks");
        round->work();
      }).detach();
    } catch (const std::system_error&) {
      break;  // out of threads: those that there are go on, and without any the round ends with no answer
    }
  }
  return round->wait();
}

}  // namespace node_compute
