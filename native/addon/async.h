// One call of the core as a promise: values in on the JavaScript thread, work on a lane, the result back in a
// batch.
#pragma once

#include <napi.h>

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "addon/environment.h"
#include "addon/errors.h"
#include "executor/executor.h"
#include "executor/failure.h"

namespace node_compute {

/// The last argument of every asynchronous call: 0 or the id under which it can be cancelled.
inline std::uint32_t call_id(const Napi::CallbackInfo& info, std::size_t index) {
  return info[index].IsNumber() ? info[index].As<Napi::Number>().Uint32Value() : 0;
}

/// Of work whose result is whether it did something.
inline Napi::Value bool_to_js(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }

/// Holds a result until the environment's thread settles the promise with it.
template <class Result, class Convert>
class AsyncCompletion final : public EnvironmentCompletion {
 public:
  AsyncCompletion(Napi::Promise::Deferred deferred, std::uint32_t id, Convert convert)
      : deferred_(deferred), id_(id), convert_(std::move(convert)) {}

  void fail(std::exception_ptr failure) noexcept { failure_ = std::move(failure); }
  void succeed(Result result) { result_.emplace(std::move(result)); }

  void settle(Napi::Env env) override {
    Environment::of(env).forget(id_);
    if (!failure_) {
      try {
        deferred_.Resolve(convert_(env, std::move(*result_)));
        return;
      } catch (const Napi::Error& error) {
        deferred_.Reject(error.Value());
        return;
      } catch (...) {
        failure_ = std::current_exception();
      }
    }
    deferred_.Reject(to_js_error(env, failure_));
  }
  bool ends_operation() const noexcept override { return true; }

 private:
  Napi::Promise::Deferred deferred_;
  std::uint32_t id_;
  Convert convert_;
  std::exception_ptr failure_;
  std::optional<Result> result_;
};

/// Stands for the result of work that returns nothing.
struct Nothing {};

template <class Work, class Completion>
class AsyncJob final : public Job {
 public:
  AsyncJob(std::shared_ptr<Cancellation> cancellation, std::shared_ptr<Completions> completions,
           std::unique_ptr<Completion> completion, Work work)
      : Job(std::move(cancellation)),
        completions_(std::move(completions)),
        completion_(std::move(completion)),
        work_(std::move(work)) {}

  void run() noexcept override {
    try {
      if constexpr (std::is_void_v<std::invoke_result_t<Work&, Cancellation&>>) {
        work_(*cancellation());
        completion_->succeed(Nothing{});
      } else {
        completion_->succeed(work_(*cancellation()));
      }
    } catch (...) {
      completion_->fail(std::current_exception());
    }
    completions_->push(std::move(completion_));
  }

  void drop() noexcept override {
    completion_->fail(std::make_exception_ptr(Cancelled()));
    completions_->push(std::move(completion_));
  }

 private:
  std::shared_ptr<Completions> completions_;
  std::unique_ptr<Completion> completion_;
  Work work_;
};

/// Runs `work(Cancellation&)` on `lane` and resolves with `convert(Napi::Env, Result)`. `work` must own
/// (shared_ptr, copies) all it touches; it may throw anything that errors.cc knows. Everything that reads the
/// arguments happens before this call, on the JavaScript thread.
template <class Work, class Convert>
Napi::Value Async(Napi::Env env, Lane lane, std::uint32_t id, Work work, Convert convert) {
  using Returned = std::invoke_result_t<Work&, Cancellation&>;
  using Result = std::conditional_t<std::is_void_v<Returned>, Nothing, Returned>;
  using Settled = AsyncCompletion<Result, Convert>;

  auto& environment = Environment::of(env);
  const auto deferred = Napi::Promise::Deferred::New(env);
  auto cancellation = environment.begin_operation(id);
  try {
    Executor::process().submit(
        lane, std::make_unique<AsyncJob<Work, Settled>>(
                  std::move(cancellation), environment.completions(),
                  std::make_unique<Settled>(deferred, id, std::move(convert)), std::move(work)));
  } catch (...) {
    environment.forget(id);
    environment.end_operation();
    deferred.Reject(to_js_error(env, std::current_exception()));
  }
  return deferred.Promise();
}

/// The same for work that returns nothing: resolves with undefined.
template <class Work>
Napi::Value Async(Napi::Env env, Lane lane, std::uint32_t id, Work work) {
  return Async(env, lane, id, std::move(work),
               [](Napi::Env e, Nothing) -> Napi::Value { return e.Undefined(); });
}

/// For work that ends on a thread which is not an executor's: `begin(cancellation, finish)` starts it, and
/// somebody calls `finish(Result)` or `finish(std::exception_ptr)` once, on any thread. What `begin` throws
/// rejects the promise.
template <class Result, class Begin, class Convert>
Napi::Value AsyncElsewhere(Napi::Env env, std::uint32_t id, Begin begin, Convert convert) {
  using Settled = AsyncCompletion<Result, Convert>;

  auto& environment = Environment::of(env);
  const auto deferred = Napi::Promise::Deferred::New(env);
  auto cancellation = environment.begin_operation(id);
  // Shared, since a std::function that carries it must be copyable.
  auto settled =
      std::make_shared<std::unique_ptr<Settled>>(std::make_unique<Settled>(deferred, id, std::move(convert)));
  const auto finish = [settled, completions = environment.completions()](auto outcome) {
    if constexpr (std::is_same_v<decltype(outcome), std::exception_ptr>) {
      (*settled)->fail(std::move(outcome));
    } else {
      (*settled)->succeed(std::move(outcome));
    }
    completions->push(std::move(*settled));
  };
  try {
    begin(std::move(cancellation), finish);
  } catch (...) {
    finish(std::current_exception());
  }
  return deferred.Promise();
}

/// Runs the reading of arguments and the submission; what they throw rejects the promise, never crosses into
/// C.
template <class Call>
Napi::Value Guarded(Napi::Env env, Call call) {
  try {
    return call();
  } catch (const Napi::Error&) {
    throw;
  } catch (...) {
    const auto deferred = Napi::Promise::Deferred::New(env);
    deferred.Reject(to_js_error(env, std::current_exception()));
    return deferred.Promise();
  }
}

}  // namespace node_compute
