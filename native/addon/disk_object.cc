#include "addon/disk_object.h"

#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/bytes.h"
#include "addon/disposal.h"
#include "addon/image_arguments.h"
#include "image/disk.h"
#include "image/disk_map.h"
#include "image/disk_reader.h"
#include "image/qcow2_stream.h"

namespace node_compute {

namespace {

using Bytes = std::vector<std::uint8_t>;

/// Of one read: what is not asked for in one piece cannot exhaust memory.
constexpr std::uint64_t kMostBytes = 64 << 20;

const char* kind_name(Extent::Kind kind) {
  switch (kind) {
    case Extent::Kind::absent:
      return "hole";
    case Extent::Kind::zeros:
      return "zeros";
    case Extent::Kind::data:
      return "data";
    case Extent::Kind::compressed:
      return "compressed";
  }
  return "";
}

Napi::Value to_js(Napi::Env env, const Extents& extents) {
  const Napi::Array result = Napi::Array::New(env, extents.size());
  for (std::size_t i = 0; i < extents.size(); ++i) {
    const Extent& extent = extents[i];
    const Napi::Object object = Napi::Object::New(env);
    object.Set("offset", static_cast<double>(extent.offset));
    object.Set("bytes", static_cast<double>(extent.bytes));
    object.Set("kind", kind_name(extent.kind));
    object.Set("layer", extent.layer);
    if (extent.kind == Extent::Kind::data) object.Set("fileOffset", static_cast<double>(extent.file_offset));
    result.Set(static_cast<std::uint32_t>(i), object);
  }
  return result;
}

/// Calls come from several threads, the stream takes one at a time.
struct SharedStream {
  SharedStream(std::shared_ptr<const Disk> of, const Cancellation& cancel)
      : disk(std::move(of)), stream(*disk, cancel) {}

  const std::shared_ptr<const Disk> disk;
  std::mutex mutex;  // guards stream
  Qcow2Stream stream;
};

class Qcow2StreamObject : public Napi::ObjectWrap<Qcow2StreamObject> {
 public:
  using Shared = std::shared_ptr<SharedStream>;

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Qcow2Stream", {InstanceMethod<&Qcow2StreamObject::read>("read")});
  }

  static Napi::Value make(Napi::Env env, Shared stream) {
    const auto clusters = static_cast<double>(stream->stream.clusters());
    auto carried = Napi::External<Shared>::New(env, &stream);
    const Napi::Object object = Environment::of(env).qcow2_stream_constructor.New({carried});
    object.Set("clusters", clusters);
    object.Set("clusterSizeBytes", static_cast<double>(Qcow2Stream::kCluster));
    return object;
  }

  explicit Qcow2StreamObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a Qcow2Stream comes from a Disk");
    stream_ = std::move(*info[0].As<Napi::External<Shared>>().Data());
  }

  void Finalize(Napi::BasicEnv) override { dispose(std::move(stream_)); }

 private:
  Napi::Value read(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      const std::uint64_t first = to_size(info[0], "first");
      const std::uint64_t count = to_size(info[1], "count");
      const std::uint64_t there = stream_->stream.clusters();
      if (count > kMostBytes / Qcow2Stream::kCluster || first > there || count > there - first) {
        throw InvalidArgument("a read must lie in the image and be of 64 MiB at most");
      }
      return Async(
          info.Env(), Lane::file, call_id(info, 2),
          [stream = stream_, first, count](const Cancellation&) {
            Bytes bytes(count * Qcow2Stream::kCluster);
            const std::lock_guard lock(stream->mutex);
            stream->stream.read(first, count, bytes.data());
            return bytes;
          },
          [](Napi::Env env, Bytes bytes) { return to_buffer(env, std::move(bytes)); });
    });
  }

  Shared stream_;
};

class DiskObject : public Napi::ObjectWrap<DiskObject> {
 public:
  using Shared = std::shared_ptr<const Disk>;

  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Disk",
                       {
                           InstanceMethod<&DiskObject::read>("read"),
                           InstanceMethod<&DiskObject::map>("map"),
                           InstanceMethod<&DiskObject::stream>("openQcow2Stream"),
                           InstanceMethod<&DiskObject::close>("close"),
                       });
  }

  static Napi::Value make(Napi::Env env, Shared disk) {
    const auto size = static_cast<double>(disk->size());
    auto carried = Napi::External<Shared>::New(env, &disk);
    const Napi::Object object = Environment::of(env).disk_constructor.New({carried});
    object.Set("sizeBytes", size);
    return object;
  }

  explicit DiskObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a Disk comes from openDisk");
    disk_ = std::move(*info[0].As<Napi::External<Shared>>().Data());
  }

  void Finalize(Napi::BasicEnv) override { dispose(std::move(disk_)); }

 private:
  Shared disk() const {
    if (!disk_) throw Closed("the disk is closed");
    return disk_;
  }

  Napi::Value read(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      const std::uint64_t offset = to_size(info[0], "offset");
      const std::uint64_t bytes = to_size(info[1], "bytes");
      const Shared held = disk();
      if (bytes > kMostBytes || offset > held->size() || bytes > held->size() - offset) {
        throw InvalidArgument("a read must lie on the disk and be of 64 MiB at most");
      }
      return Async(
          info.Env(), Lane::file, call_id(info, 2),
          [held, offset, bytes](const Cancellation&) {
            Bytes result(bytes);
            DiskReader(*held).read(offset, result.data(), bytes);
            return result;
          },
          [](Napi::Env env, Bytes result) { return to_buffer(env, std::move(result)); });
    });
  }

  Napi::Value map(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      return Async(
          info.Env(), Lane::file, call_id(info, 1),
          [held = disk(), offset = to_size(info[0], "offset")](const Cancellation& cancel) {
            return map_disk(*held, offset, cancel);
          },
          [](Napi::Env env, const Extents& extents) { return to_js(env, extents); });
    });
  }

  Napi::Value stream(const Napi::CallbackInfo& info) {
    return Guarded(info.Env(), [&] {
      return Async(
          info.Env(), Lane::bulk, call_id(info, 0),
          [held = disk()](const Cancellation& cancel) {
            return std::make_shared<SharedStream>(held, cancel);
          },
          [](Napi::Env env, std::shared_ptr<SharedStream> shared) {
            return Qcow2StreamObject::make(env, std::move(shared));
          });
    });
  }

  /// Calls that run keep the files open until they end.
  Napi::Value close(const Napi::CallbackInfo& info) {
    dispose(std::move(disk_));
    return info.Env().Undefined();
  }

  Shared disk_;
};

Napi::Value open_disk(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::bulk, call_id(info, 2),
        [layers = to_layers(info[0]), limit = to_size(info[1], "maxVirtualBytes")](
            const Cancellation& cancel) -> std::shared_ptr<const Disk> {
          return std::make_shared<const Disk>(Disk::open(layers, limit, cancel));
        },
        [](Napi::Env env, std::shared_ptr<const Disk> disk) {
          return DiskObject::make(env, std::move(disk));
        });
  });
}

}  // namespace

void define_disk_object(Napi::Env env, Napi::Object exports) {
  Environment::of(env).disk_constructor = Napi::Persistent(DiskObject::define(env));
  Environment::of(env).qcow2_stream_constructor = Napi::Persistent(Qcow2StreamObject::define(env));
  exports.Set("openDisk", Napi::Function::New<&open_disk>(env, "openDisk"));
}

}  // namespace node_compute
