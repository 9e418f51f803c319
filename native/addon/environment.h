// What the addon keeps for each JavaScript environment (the main thread, every worker thread).
#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "executor/cancellation.h"
#include "executor/completions.h"

namespace node_compute {

/// A completion that knows how to settle its promise, or call its listener, in the environment.
class EnvironmentCompletion : public Completion {
 public:
  /// On the environment's thread, inside a handle scope.
  virtual void settle(Napi::Env env) = 0;
  /// Whether it ends an operation that keeps the event loop alive.
  virtual bool ends_operation() const noexcept = 0;
};

/// One per environment, owned by it; used on its thread only, but for completions().
class Environment {
 public:
  static Environment& of(Napi::Env env);
  static void create(Napi::Env env);
  ~Environment();
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

  const std::shared_ptr<Completions>& completions() const noexcept { return completions_; }

  /// Registers a call under its id (0: cannot be cancelled) and keeps the event loop alive until
  /// end_operation().
  std::shared_ptr<Cancellation> begin_operation(std::uint32_t call_id);
  /// Takes begin_operation() back where the call could not be submitted.
  void end_operation();
  void forget(std::uint32_t call_id);
  void cancel(std::uint32_t call_id);
  /// How far the call's work says it is, in its own unit; 0 where there is no such call.
  std::uint64_t progress(std::uint32_t call_id) const;

  /// Keeps a listener for events; the number names it from other threads, which may not touch the reference.
  std::uint32_t add_listener(Napi::Function listener);
  void remove_listener(std::uint32_t id);
  /// Calls it, if it is still there, with one argument.
  void call_listener(std::uint32_t id, Napi::Value argument);

  Napi::FunctionReference connection_constructor;
  Napi::FunctionReference domain_constructor;
  Napi::FunctionReference console_constructor;
  Napi::FunctionReference arriving_conversion_constructor;
  Napi::FunctionReference disk_constructor;
  Napi::FunctionReference qcow2_stream_constructor;
  Napi::FunctionReference file_digest_constructor;
  Napi::FunctionReference file_sink_constructor;
  Napi::FunctionReference file_lock_constructor;

 private:
  explicit Environment(Napi::Env env);
  static void drain(napi_env env, napi_value callback, void* context, void* data);
  static void cleanup(void* environment);

  napi_env env_;
  napi_threadsafe_function wake_ = nullptr;
  std::shared_ptr<Completions> completions_;
  std::unordered_map<std::uint32_t, std::shared_ptr<Cancellation>> calls_;
  std::unordered_map<std::uint32_t, Napi::FunctionReference> listeners_;
  std::uint32_t last_listener_ = 0;
  std::size_t operations_ = 0;
};

}  // namespace node_compute
