#include "addon/console_object.h"

#include <utility>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/bytes.h"
#include "addon/disposal.h"

namespace node_compute {

namespace {

/// Asks on a thread of the executor for what the event loop's thread will then do: even that may talk to a
/// daemon. What it throws, and a cancel before it ran, go to `finish`.
template <class Work, class Finish>
class Asking final : public Job {
 public:
  Asking(std::shared_ptr<Cancellation> cancellation, Work work, Finish finish)
      : Job(std::move(cancellation)), work_(std::move(work)), finish_(std::move(finish)) {}
  void run() noexcept override {
    try {
      work_();
    } catch (...) {
      finish_(std::current_exception());
    }
  }
  void drop() noexcept override { finish_(std::make_exception_ptr(Cancelled())); }

 private:
  Work work_;
  Finish finish_;
};

template <class Work, class Finish>
void ask(std::shared_ptr<Cancellation> cancellation, Work work, Finish finish) {
  Executor::process().submit(Lane::probe, std::make_unique<Asking<Work, Finish>>(
                                              std::move(cancellation), std::move(work), std::move(finish)));
}

Console::Bytes copy_of(const Napi::Value& value) {
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    throw InvalidArgument("data must be a Uint8Array");
  }
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

}  // namespace

void ConsoleObject::define(Napi::Env env) {
  Environment::of(env).console_constructor = Napi::Persistent(DefineClass(
      env, "Console",
      {InstanceMethod<&ConsoleObject::read>("read"), InstanceMethod<&ConsoleObject::write>("write"),
       InstanceMethod<&ConsoleObject::close>("close")}));
}

Napi::Value ConsoleObject::make(Napi::Env env, std::shared_ptr<Console> console) {
  auto carried = Napi::External<std::shared_ptr<Console>>::New(env, &console);
  return Environment::of(env).console_constructor.New({carried});
}

ConsoleObject::ConsoleObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
  if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a Console comes from a Domain");
  console_ = std::move(*info[0].As<Napi::External<std::shared_ptr<Console>>>().Data());
}

void ConsoleObject::Finalize(Napi::BasicEnv) { dispose(std::move(console_)); }

Napi::Value ConsoleObject::read(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return AsyncElsewhere<Console::Bytes>(
        info.Env(), call_id(info, 0),
        [console = console_](std::shared_ptr<Cancellation> cancellation, auto finish) {
          ask(
              std::move(cancellation),
              [console, finish] {
                console->read([finish](Console::Bytes bytes, const std::exception_ptr& failure) {
                  if (failure) return finish(failure);
                  finish(std::move(bytes));
                });
              },
              finish);
        },
        [](Napi::Env env, Console::Bytes bytes) { return to_buffer(env, std::move(bytes)); });
  });
}

Napi::Value ConsoleObject::write(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return AsyncElsewhere<Nothing>(
        info.Env(), call_id(info, 1),
        [console = console_, bytes = copy_of(info[0])](std::shared_ptr<Cancellation> cancellation,
                                                       auto finish) mutable {
          ask(
              std::move(cancellation),
              [console, finish, bytes = std::move(bytes)]() mutable {
                console->write(std::move(bytes), [finish](const std::exception_ptr& failure) {
                  if (failure) return finish(failure);
                  finish(Nothing{});
                });
              },
              finish);
        },
        [](Napi::Env env, Nothing) -> Napi::Value { return env.Undefined(); });
  });
}

Napi::Value ConsoleObject::close(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::wait, call_id(info, 0),
                 [console = console_](const Cancellation&) { console->close(); });
  });
}

}  // namespace node_compute
