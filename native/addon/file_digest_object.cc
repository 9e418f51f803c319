#include "addon/file_digest_object.h"

#include <memory>
#include <utility>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/disposal.h"
#include "image/file_digest.h"

namespace node_compute {

namespace {

class FileDigestObject : public Napi::ObjectWrap<FileDigestObject> {
 public:
  using Shared = std::shared_ptr<FileDigest>;

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "FileDigest",
                       {
                           InstanceMethod<&FileDigestObject::advance>("advance"),
                           InstanceMethod<&FileDigestObject::close>("close"),
                       });
  }

  static Napi::Value make(Napi::Env env, Shared digest) {
    const auto size = static_cast<double>(digest->size());
    const auto inode = static_cast<double>(digest->inode());
    auto carried = Napi::External<Shared>::New(env, &digest);
    const Napi::Object object = Environment::of(env).file_digest_constructor.New({carried});
    object.Set("sizeBytes", size);
    object.Set("inode", inode);
    return object;
  }

  explicit FileDigestObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsExternal())
      throw Napi::TypeError::New(info.Env(), "a FileDigest comes from openFileDigest");
    digest_ = std::move(*info[0].As<Napi::External<Shared>>().Data());
  }

  void Finalize(Napi::BasicEnv) override { dispose(std::move(digest_)); }

 private:
  /// On the lane of images, so that a piece waits behind what a launch needs.
  Napi::Value advance(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      if (!digest_) throw Closed("the file is closed");
      return Async(
          info.Env(), Lane::bulk, call_id(info, 1),
          [digest = digest_, most = to_size(info[0], "bytes")](const Cancellation& cancel) {
            return digest->advance(most, cancel);
          },
          [](Napi::Env env, const FileDigest::Piece& piece) -> Napi::Value {
            const Napi::Object object = Napi::Object::New(env);
            object.Set("workBytes", static_cast<double>(piece.work_bytes));
            object.Set("doneBytes", static_cast<double>(piece.done_bytes));
            if (piece.value) object.Set("value", *piece.value);
            return object;
          });
    });
  }

  /// A call that runs keeps the file open until it ends.
  Napi::Value close(const Napi::CallbackInfo& info) {
    dispose(std::move(digest_));
    return info.Env().Undefined();
  }

  Shared digest_;
};

Napi::Value open_file_digest(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Napi::Object given = to_object(info[1], "options");
    FileDigestOptions options;
    options.algorithm = to_text(given.Get("algorithm"), "algorithm");
    options.direct = to_bool(given.Get("direct"), "direct");
    return Async(
        info.Env(), Lane::file, call_id(info, 2),
        [path = to_text(info[0], "path"), options](const Cancellation&) {
          return std::make_shared<FileDigest>(path, options);
        },
        [](Napi::Env env, std::shared_ptr<FileDigest> digest) {
          return FileDigestObject::make(env, std::move(digest));
        });
  });
}

}  // namespace

void define_file_digest_object(Napi::Env env, Napi::Object exports) {
  Environment::of(env).file_digest_constructor = Napi::Persistent(FileDigestObject::define(env));
  exports.Set("openFileDigest", Napi::Function::New<&open_file_digest>(env, "openFileDigest"));
}

}  // namespace node_compute
