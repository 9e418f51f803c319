#include "addon/environment.h"

#include <utility>

#include "executor/executor.h"

namespace node_compute {

namespace {

/// Only a listener's own exception gets here: it is the program's, as one thrown in a timer would be.
void report(napi_env env, const Napi::Error& error) noexcept {
  try {
    napi_fatal_exception(env, error.Value());
  } catch (const Napi::Error&) {
    // A worker thread that is being terminated runs no JavaScript any more: nobody is left to be told.
    return;
  }
}

}  // namespace

Environment& Environment::of(Napi::Env env) { return *env.GetInstanceData<Environment>(); }

void Environment::create(Napi::Env env) {
  // Owned by the environment: SetInstanceData's finalizer deletes it after the cleanup hooks have run.
  env.SetInstanceData(new Environment(env));  // NOLINT(cppcoreguidelines-owning-memory)
}

Environment::Environment(Napi::Env env) : env_(env) {
  const Napi::String name = Napi::String::New(env, "node_compute");
  NAPI_THROW_IF_FAILED_VOID(env, napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr,
                                                                 nullptr, this, &Environment::drain, &wake_));
  // Nothing under way: an idle addon does not keep the process alive.
  napi_unref_threadsafe_function(env, wake_);
  completions_ = std::make_shared<Completions>(
      [wake = wake_] { napi_call_threadsafe_function(wake, nullptr, napi_tsfn_nonblocking); });
  // Hooks run last first, so this one before the thread-safe function's own: no thread calls it once it is
  // gone.
  napi_add_env_cleanup_hook(env, &Environment::cleanup, this);
}

Environment::~Environment() = default;

void Environment::cleanup(void* data) {
  auto* const self = static_cast<Environment*>(data);
  self->completions_->close();
  for (const auto& [id, cancellation] : self->calls_) cancellation->cancel();
  Executor::process().sweep_cancelled();
  napi_release_threadsafe_function(self->wake_, napi_tsfn_abort);
}

std::shared_ptr<Cancellation> Environment::begin_operation(std::uint32_t call_id) {
  auto cancellation = std::make_shared<Cancellation>();
  if (call_id != 0) calls_[call_id] = cancellation;
  if (operations_++ == 0) napi_ref_threadsafe_function(env_, wake_);
  return cancellation;
}

void Environment::end_operation() {
  if (--operations_ == 0) napi_unref_threadsafe_function(env_, wake_);
}

void Environment::forget(std::uint32_t call_id) {
  if (call_id != 0) calls_.erase(call_id);
}

void Environment::cancel(std::uint32_t call_id) {
  const auto call = calls_.find(call_id);
  if (call == calls_.end()) return;
  call->second->cancel();
  Executor::process().sweep_cancelled();
}

std::uint64_t Environment::progress(std::uint32_t call_id) const {
  const auto call = calls_.find(call_id);
  return call == calls_.end() ? 0 : call->second->done();
}

std::uint32_t Environment::add_listener(Napi::Function listener) {
  listeners_[++last_listener_] = Napi::Persistent(listener);
  return last_listener_;
}

void Environment::remove_listener(std::uint32_t id) { listeners_.erase(id); }

void Environment::call_listener(std::uint32_t id, Napi::Value argument) {
  const auto listener = listeners_.find(id);
  if (listener != listeners_.end()) listener->second.Value().Call({argument});
}

void Environment::drain(napi_env raw, napi_value, void* context, void*) {
  if (raw == nullptr) return;  // the environment is going down
  auto* const self = static_cast<Environment*>(context);
  const Napi::Env env(raw);
  for (auto& completion : self->completions_->take()) {
    const Napi::HandleScope scope(env);
    auto& settled = static_cast<EnvironmentCompletion&>(*completion);
    try {
      settled.settle(env);
    } catch (const Napi::Error& error) {
      report(raw, error);
    }
    if (settled.ends_operation()) self->end_operation();
  }
}

}  // namespace node_compute
