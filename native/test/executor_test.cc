// Lanes, bounds, cancellation and batches: what the addon relies on, without JavaScript.
#include "executor/executor.h"

#include <doctest/doctest.h>
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "executor/completions.h"
#include "executor/failure.h"
#include "executor/signals_blocked.h"

using namespace node_compute;

namespace {

class Latch {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    wake_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool open_ = false;
};

class TestJob : public Job {
 public:
  TestJob(std::function<void()> work, std::function<void()> dropped,
          std::shared_ptr<Cancellation> cancellation = nullptr)
      : Job(std::move(cancellation)), work_(std::move(work)), dropped_(std::move(dropped)) {}
  void run() noexcept override { work_(); }
  void drop() noexcept override { dropped_(); }

 private:
  std::function<void()> work_;
  std::function<void()> dropped_;
};

void nothing() {}

std::unique_ptr<Job> job(std::function<void()> work) {
  return std::make_unique<TestJob>(std::move(work), nothing);
}

Executor::Limits limits(std::size_t threads, std::size_t queue) {
  Executor::Limits all{};
  all.fill({threads, queue});
  return all;
}

}  // namespace

TEST_CASE("a lane whose threads all hang does not hold up another lane") {
  Executor executor(limits(1, 8));
  Latch hang;
  Latch reached;
  executor.submit(Lane::wait, job([&] { hang.wait(); }));
  executor.submit(Lane::probe, job([&] { reached.open(); }));
  reached.wait();
  hang.open();
}

TEST_CASE("a full lane refuses, and goes on afterwards") {
  Executor executor(limits(1, 2));
  Latch hang;
  Latch running;
  executor.submit(Lane::bulk, job([&] {
                    running.open();
                    hang.wait();
                  }));
  running.wait();
  executor.submit(Lane::bulk, job(nothing));
  executor.submit(Lane::bulk, job(nothing));
  CHECK_THROWS_AS(executor.submit(Lane::bulk, job(nothing)), QueueFull);
  Latch after;
  hang.open();
  while (executor.statistics()[static_cast<std::size_t>(Lane::bulk)].queued > 0) std::this_thread::yield();
  executor.submit(Lane::bulk, job([&] { after.open(); }));
  after.wait();
}

TEST_CASE("a lane never runs more jobs at once than it has threads, and uses them all") {
  Executor executor(limits(3, 1000));
  std::atomic<int> running{0};
  std::atomic<int> most{0};
  std::atomic<int> done{0};
  for (int i = 0; i < 300; ++i) {
    executor.submit(Lane::start, job([&] {
                      const int now = ++running;
                      int seen = most.load();
                      while (now > seen && !most.compare_exchange_weak(seen, now)) {
                      }
                      std::this_thread::sleep_for(std::chrono::microseconds(200));
                      --running;
                      ++done;
                    }));
  }
  while (done < 300) std::this_thread::yield();
  CHECK(most == 3);
}

TEST_CASE("threads that sleep all come when as many blocking jobs arrive at once") {
  constexpr std::size_t kThreads = 4;
  std::mutex mutex;
  std::condition_variable changed;
  Executor executor(limits(kThreads, 100));
  for (int round = 0; round < 500; ++round) {
    // Each job waits for all others, so one wake-up lost on the way from thread to thread would end this
    // test.
    std::size_t arrived = 0;
    std::size_t left = kThreads;
    for (std::size_t i = 0; i < kThreads; ++i) {
      executor.submit(Lane::wait, job([&] {
                        std::unique_lock lock(mutex);
                        ++arrived;
                        changed.notify_all();
                        changed.wait(lock, [&] { return arrived == kThreads; });
                        --left;
                        changed.notify_all();
                      }));
    }
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return left == 0; });
  }
}

TEST_CASE("a cancelled job that waits is dropped at once, a running one is told") {
  Executor executor(limits(1, 8));
  Latch hang;
  auto running = std::make_shared<Cancellation>();
  auto waiting = std::make_shared<Cancellation>();
  std::atomic<bool> told{false};
  std::atomic<bool> dropped{false};
  Latch started;
  executor.submit(Lane::bulk, std::make_unique<TestJob>(
                                  [&] {
                                    started.open();
                                    hang.wait();
                                    told = running->cancelled();
                                  },
                                  nothing, running));
  executor.submit(Lane::bulk, std::make_unique<TestJob>([] { FAIL("a dropped job ran"); },
                                                        [&] { dropped = true; }, waiting));
  started.wait();
  waiting->cancel();
  running->cancel();
  executor.sweep_cancelled();
  CHECK(dropped);
  hang.open();
  while (executor.statistics()[static_cast<std::size_t>(Lane::bulk)].running > 0) std::this_thread::yield();
  CHECK(told);
}

TEST_CASE("an executor that goes down drops what waits and ends what runs") {
  std::atomic<int> ran{0};
  std::atomic<int> dropped{0};
  {
    Executor executor(limits(1, 100));
    Latch running;
    executor.submit(Lane::wait, job([&] {
                      running.open();
                      std::this_thread::sleep_for(std::chrono::milliseconds(20));
                      ++ran;
                    }));
    running.wait();
    for (int i = 0; i < 50; ++i) {
      executor.submit(Lane::wait, std::make_unique<TestJob>([&] { ++ran; }, [&] { ++dropped; }));
    }
  }
  CHECK(ran >= 1);
  CHECK(ran + dropped == 51);
}

TEST_CASE("jobs submitted from many threads all run once") {
  std::atomic<int> ran{0};
  {
    Executor executor(limits(4, 100'000));
    std::vector<std::thread> submitters;
    for (int t = 0; t < 4; ++t) {
      submitters.emplace_back([&] {
        for (int i = 0; i < 2'000; ++i) executor.submit(static_cast<Lane>(i % 4), job([&] { ++ran; }));
      });
    }
    for (auto& thread : submitters) thread.join();
    while (ran < 8'000) std::this_thread::yield();
  }
  CHECK(ran == 8'000);
}

TEST_CASE(
    "threads of ours block every signal, and the thread that starts them keeps its own mask, also when it "
    "fails") {
  const auto blocked = [](int signal) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    return sigismember(&mask, signal) == 1;
  };
  bool inside = false;
  {
    Executor executor(limits(1, 8));
    Latch done;
    executor.submit(Lane::probe, job([&] {
                      inside = blocked(SIGTERM) && blocked(SIGCHLD);
                      done.open();
                    }));
    done.wait();
  }
  CHECK(inside);
  CHECK_FALSE(blocked(SIGTERM));
  try {
    const SignalsBlocked guard;
    CHECK(blocked(SIGTERM));
    throw std::system_error(EAGAIN, std::generic_category());
  } catch (const std::system_error&) {
    CHECK_FALSE(blocked(SIGTERM));
  }
}

TEST_CASE("completions wake the environment once for a batch, and never after close") {
  std::atomic<int> wakes{0};
  Completions completions([&] { ++wakes; });
  for (int i = 0; i < 10; ++i) completions.push(std::make_unique<Completion>());
  CHECK(wakes == 1);
  CHECK(completions.take().size() == 10);
  completions.push(std::make_unique<Completion>());
  CHECK(wakes == 2);
  completions.close();
  completions.push(std::make_unique<Completion>());
  CHECK(wakes == 2);
  CHECK(completions.take().empty());
}

TEST_CASE(
    "completions pushed by many threads while the environment closes are neither lost nor touched twice") {
  static std::atomic<int> alive{0};
  struct Counted : Completion {
    Counted() { ++alive; }
    ~Counted() override { --alive; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
  };
  auto completions = std::make_shared<Completions>([] {});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([completions] {
      for (int i = 0; i < 1'000; ++i) completions->push(std::make_unique<Counted>());
    });
  }
  std::size_t taken = completions->take().size();
  completions->close();
  taken += completions->take().size();
  for (auto& thread : threads) thread.join();
  CHECK(taken <= 4'000);
  CHECK(alive == 0);
}
