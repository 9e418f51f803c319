#include "addon/arriving_conversion_object.h"

#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/disposal.h"
#include "addon/image_arguments.h"
#include "image/arriving_conversion.h"

namespace node_compute {

namespace {

class ArrivingConversionObject : public Napi::ObjectWrap<ArrivingConversionObject> {
 public:
  using Shared = std::shared_ptr<ArrivingConversion>;

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "ArrivingConversion",
                       {
                           InstanceMethod<&ArrivingConversionObject::advance>("advance"),
                           InstanceMethod<&ArrivingConversionObject::finish>("finish"),
                           InstanceMethod<&ArrivingConversionObject::abandon>("abandon"),
                       });
  }

  static Napi::Value make(Napi::Env env, Shared conversion) {
    auto carried = Napi::External<Shared>::New(env, &conversion);
    return Environment::of(env).arriving_conversion_constructor.New({carried});
  }

  explicit ArrivingConversionObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsExternal()) {
      throw Napi::TypeError::New(info.Env(), "an ArrivingConversion comes from openArrivingConversion");
    }
    conversion_ = std::move(*info[0].As<Napi::External<Shared>>().Data());
  }

  void Finalize(Napi::BasicEnv) override { dispose(std::move(conversion_)); }

 private:
  Napi::Value advance(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      return Async(
          info.Env(), Lane::bulk, call_id(info, 1),
          [conversion = conversion_, arrived = to_size(info[0], "arrivedBytes")](const Cancellation& cancel) {
            conversion->advance(arrived, cancel);
            return conversion->virtual_bytes();
          },
          [](Napi::Env env, std::uint64_t bytes) {
            return Napi::Number::New(env, static_cast<double>(bytes));
          });
    });
  }

  Napi::Value finish(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      return Async(
          info.Env(), Lane::bulk, call_id(info, 0),
          [conversion = conversion_](Cancellation& cancel) { return conversion->finish(cancel); },
          [](Napi::Env env, const ConvertResult& result) { return convert_result_to_js(env, result); });
    });
  }

  /// Not on the bulk lane: an abort must not wait behind other images.
  Napi::Value abandon(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      return Async(info.Env(), Lane::file, call_id(info, 0),
                   [conversion = conversion_](const Cancellation&) { conversion->abandon(); });
    });
  }

  Shared conversion_;
};

Napi::Value open_arriving_conversion(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Napi::Object given = to_object(info[2], "options");
    ArrivingOptions options;
    options.image_bytes = to_size(given.Get("imageBytes"), "imageBytes");
    options.max_virtual_bytes = to_size(given.Get("maxVirtualBytes"), "maxVirtualBytes");
    options.max_early_bytes = to_size(given.Get("maxEarlyBytes"), "maxEarlyBytes");
    options.threads = to_flags(given.Get("threads"), "threads");
    return Async(
        info.Env(), Lane::bulk, call_id(info, 3),
        [source = to_text(info[0], "source"), target = to_text(info[1], "target"), options](
            const Cancellation&) { return std::make_shared<ArrivingConversion>(source, target, options); },
        [](Napi::Env env, std::shared_ptr<ArrivingConversion> conversion) {
          return ArrivingConversionObject::make(env, std::move(conversion));
        });
  });
}

}  // namespace

void define_arriving_conversion_object(Napi::Env env, Napi::Object exports) {
  Environment::of(env).arriving_conversion_constructor =
      Napi::Persistent(ArrivingConversionObject::define(env));
  exports.Set("openArrivingConversion",
              Napi::Function::New<&open_arriving_conversion>(env, "openArrivingConversion"));
}

}  // namespace node_compute
