#include "addon/image_functions.h"

#include <memory>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/disposal.h"
#include "addon/image_arguments.h"
#include "addon/image_info.h"
#include "image/convert.h"
#include "image/copy.h"
#include "image/file_digest.h"
#include "image/file_sink.h"
#include "image/grow.h"
#include "image/info.h"
#include "image/inspect.h"
#include "image/publish.h"
#include "image/qcow2_create.h"
#include "image/swap_area.h"

namespace node_compute {

namespace {

Napi::Value to_js(Napi::Env env, const ImageVerdict& verdict) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("format", verdict.format);
  result.Set("virtualSizeBytes", static_cast<double>(verdict.virtual_size));
  result.Set("fileSizeBytes", static_cast<double>(verdict.file_size));
  result.Set("dataBytes", static_cast<double>(verdict.data_bytes));
  if (verdict.qcow2) {
    result.Set("version", verdict.qcow2->version);
    result.Set("clusterSizeBytes", static_cast<double>(verdict.qcow2->cluster_size()));
    result.Set("snapshots", verdict.qcow2->snapshots);
    result.Set("compression", verdict.qcow2->compression_type == 0 ? "zlib" : "zstd");
    result.Set("dirty", verdict.qcow2->dirty());
  }
  if (verdict.libqcow) {
    const Napi::Object identity = Napi::Object::New(env);
    identity.Set("version", verdict.libqcow->version);
    identity.Set("virtualSizeBytes", static_cast<double>(verdict.libqcow->virtual_size));
    identity.Set("snapshots", verdict.libqcow->snapshots);
    result.Set("libqcow", identity);
  }
  return result;
}

Napi::Value copy_result_to_js(Napi::Env env, const CopyResult& copied) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("bytes", static_cast<double>(copied.bytes));
  result.Set("digest", copied.digest);
  return result;
}

CopyOptions copy_options(const Napi::Value& value) {
  const Napi::Object options = to_object(value, "options");
  CopyOptions result;
  result.digest = to_text(options.Get("digest"), "digest");
  result.max_bytes = to_size(options.Get("maxBytes"), "maxBytes");
  result.sync = to_bool(options.Get("sync"), "sync");
  const Napi::Value grown = options.Get("grownBytes");
  if (!grown.IsUndefined()) result.grown_bytes = to_size(grown, "grownBytes");
  return result;
}

SinkOptions sink_options(const Napi::Value& value) {
  return {copy_options(value), to_size(to_object(value, "options").Get("expectedBytes"), "expectedBytes")};
}

template <Encryption encryption>
Napi::Value inspect(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::bulk, call_id(info, 3),
        [path = to_text(info[0], "path"), format = to_text(info[1], "format"),
         limit = to_size(info[2], "maxVirtualBytes")](const Cancellation& cancel) {
          return inspect_image(path, format, limit, cancel, encryption);
        },
        [](Napi::Env env, const ImageVerdict& verdict) { return to_js(env, verdict); });
  });
}

/// Nothing for `none`.
std::optional<Compression> to_compression(const Napi::Value& value) {
  const std::string name = to_text(value, "compression");
  if (name == "none") return std::nullopt;
  if (name == "zlib") return Compression::deflate;
  if (name == "zstd") return Compression::zstd;
  throw InvalidArgument("the compression must be none, zlib or zstd, not " + name);
}

Napi::Value create(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Napi::Object given = to_object(info[1], "options");
    Qcow2CreateOptions options;
    if (!given.Get("backing").IsUndefined()) {
      const Napi::Object backing = to_object(given.Get("backing"), "backing");
      options.backing = {to_text(backing.Get("path"), "backing.path"),
                         to_text(backing.Get("format"), "backing.format")};
    }
    options.virtual_size = to_size(given.Get("virtualSizeBytes"), "virtualSizeBytes");
    options.cluster_size = to_size(given.Get("clusterSizeBytes"), "clusterSizeBytes");
    options.compression = to_compression(given.Get("compression")).value_or(Compression::deflate);
    return Async(info.Env(), Lane::start, call_id(info, 2),
                 [path = to_text(info[0], "path"), options = std::move(options)](const Cancellation&) {
                   create_qcow2(path, options);
                 });
  });
}

Napi::Value create_swap(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::start, call_id(info, 2),
                 [path = to_text(info[0], "path"), bytes = to_size(info[1], "bytes")](const Cancellation&) {
                   create_swap_area(path, bytes);
                 });
  });
}

Napi::Value info_of(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const std::string path = to_text(info[0], "path");
    return Async(
        info.Env(), Lane::probe, call_id(info, 2),
        [path, format = to_text(info[1], "format")](const Cancellation&) { return image_info(path, format); },
        [path](Napi::Env env, const ImageInfo& found) { return to_js(env, path, found); });
  });
}

Napi::Value grow(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::bulk, call_id(info, 2),
        [layers = to_layers(info[0]), size = to_size(info[1], "virtualSizeBytes")](
            const Cancellation& cancel) { return grow_image(layers, size, cancel); },
        [](Napi::Env env, const GrowResult& grown) -> Napi::Value {
          const Napi::Object object = Napi::Object::New(env);
          object.Set("oldVirtualSizeBytes", static_cast<double>(grown.old_virtual_size));
          object.Set("virtualSizeBytes", static_cast<double>(grown.virtual_size));
          return object;
        });
  });
}

Napi::Value copy(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::bulk, call_id(info, 3),
        [source = to_text(info[0], "source"), target = to_text(info[1], "target"),
         options = copy_options(info[2])](const Cancellation& cancel) {
          return copy_file(source, target, options, cancel);
        },
        [](Napi::Env env, const CopyResult& copied) { return copy_result_to_js(env, copied); });
  });
}

Napi::Value convert(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Napi::Object given = to_object(info[2], "options");
    ConvertOptions options;
    options.format = to_text(given.Get("format"), "format");
    options.compression = to_compression(given.Get("compression"));
    options.cluster_size = to_size(given.Get("clusterSizeBytes"), "clusterSizeBytes");
    options.max_virtual_bytes = to_size(given.Get("maxVirtualBytes"), "maxVirtualBytes");
    options.threads = to_flags(given.Get("threads"), "threads");
    options.sync = to_bool(given.Get("sync"), "sync");
    options.lock = given.Has("lock") && to_bool(given.Get("lock"), "lock");
    return Async(
        info.Env(), Lane::bulk, call_id(info, 3),
        [layers = to_layers(info[0]), target = to_text(info[1], "target"), options](Cancellation& cancel) {
          return convert_image(layers, target, options, cancel);
        },
        [](Napi::Env env, const ConvertResult& result) { return convert_result_to_js(env, result); });
  });
}

Napi::Value digest(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::bulk, call_id(info, 2),
        [path = to_text(info[0], "path"), algorithm = to_text(info[1], "algorithm")](
            const Cancellation& cancel) { return digest_file(path, algorithm, cancel); },
        [](Napi::Env env, const std::string& value) { return Napi::String::New(env, value); });
  });
}

Napi::Value seal(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::bulk, call_id(info, 3),
                 [path = to_text(info[0], "path"), bytes = to_size(info[1], "bytes"),
                  mode = to_flags(info[2], "mode")](const Cancellation&) { seal_file(path, bytes, mode); });
  });
}

Napi::Value link(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::start, call_id(info, 2),
        [source = to_text(info[0], "source"), target = to_text(info[1], "target")](const Cancellation&) {
          return link_file(source, target);
        },
        [](Napi::Env env, bool made) { return Napi::Boolean::New(env, made); });
  });
}

/// The JavaScript side of a FileSink. One write at a time, as the seam demands: a second would be unordered.
class FileSinkObject : public Napi::ObjectWrap<FileSinkObject> {
 public:
  static void define(Napi::Env env) {
    Environment::of(env).file_sink_constructor =
        Napi::Persistent(DefineClass(env, "FileSink",
                                     {
                                         InstanceMethod<&FileSinkObject::write>("write"),
                                         InstanceMethod<&FileSinkObject::finish>("finish"),
                                         InstanceMethod<&FileSinkObject::abandon>("abandon"),
                                     }));
  }

  static Napi::Value make(Napi::Env env, std::shared_ptr<FileSink> sink) {
    // The external only carries the pointer across the constructor call.
    auto carried = Napi::External<std::shared_ptr<FileSink>>::New(env, &sink);
    return Environment::of(env).file_sink_constructor.New({carried});
  }

  explicit FileSinkObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a FileSink comes from openFileSink");
    sink_ = std::move(*info[0].As<Napi::External<std::shared_ptr<FileSink>>>().Data());
  }

  void Finalize(Napi::BasicEnv) override { dispose(std::move(sink_)); }

 private:
  /// The bytes are copied: the caller may reuse or detach its buffer, and a worker thread must not look at
  /// memory that JavaScript owns.
  Napi::Value write(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
        throw InvalidArgument("chunk must be a Uint8Array");
      }
      const auto chunk = info[0].As<Napi::Uint8Array>();
      return Async(info.Env(), Lane::bulk, call_id(info, 1),
                   [sink = sink_,
                    bytes = std::vector<std::uint8_t>(chunk.Data(), chunk.Data() + chunk.ElementLength())](
                       const Cancellation&) { sink->write(bytes.data(), bytes.size()); });
    });
  }

  Napi::Value finish(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      return Async(
          info.Env(), Lane::bulk, call_id(info, 0),
          [sink = sink_](const Cancellation&) { return sink->finish(); },
          [](Napi::Env env, const CopyResult& result) { return copy_result_to_js(env, result); });
    });
  }

  /// Not on the bulk lane: an abort must not wait behind other images.
  Napi::Value abandon(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      return Async(info.Env(), Lane::probe, call_id(info, 0),
                   [sink = sink_](const Cancellation&) { sink->abandon(); });
    });
  }

  std::shared_ptr<FileSink> sink_;
};

Napi::Value open_sink(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::bulk, call_id(info, 2),
        [path = to_text(info[0], "path"), options = sink_options(info[1])](const Cancellation&) {
          return std::make_shared<FileSink>(path, options);
        },
        [](Napi::Env env, std::shared_ptr<FileSink> sink) {
          return FileSinkObject::make(env, std::move(sink));
        });
  });
}

Napi::Value libqcow_version_string(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), libqcow_version());
}

}  // namespace

void define_image_functions(Napi::Env env, Napi::Object exports) {
  FileSinkObject::define(env);
  exports.Set("libqcowVersion", Napi::Function::New<&libqcow_version_string>(env, "libqcowVersion"));
  exports.Set("inspectImage", Napi::Function::New<&inspect<Encryption::refused>>(env, "inspectImage"));
  exports.Set("inspectEncryptedImage",
              Napi::Function::New<&inspect<Encryption::luks>>(env, "inspectEncryptedImage"));
  exports.Set("createQcow2", Napi::Function::New<&create>(env, "createQcow2"));
  exports.Set("createSwapArea", Napi::Function::New<&create_swap>(env, "createSwapArea"));
  exports.Set("imageInfo", Napi::Function::New<&info_of>(env, "imageInfo"));
  exports.Set("growImage", Napi::Function::New<&grow>(env, "growImage"));
  exports.Set("copyFile", Napi::Function::New<&copy>(env, "copyFile"));
  exports.Set("convertImage", Napi::Function::New<&convert>(env, "convertImage"));
  exports.Set("openFileSink", Napi::Function::New<&open_sink>(env, "openFileSink"));
  exports.Set("digestFile", Napi::Function::New<&digest>(env, "digestFile"));
  exports.Set("sealFile", Napi::Function::New<&seal>(env, "sealFile"));
  exports.Set("linkFile", Napi::Function::New<&link>(env, "linkFile"));
}

}  // namespace node_compute
