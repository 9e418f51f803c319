#include "addon/storage_functions.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "addon/arguments.h"
#include "addon/async.h"
#include "addon/disposal.h"
#include "storage/file_lock.h"
#include "storage/files.h"
#include "storage/lock_waiter.h"
#include "storage/log_rotation.h"
#include "storage/read_directory.h"
#include "storage/remove_tree.h"
#include "storage/secret_file.h"

namespace node_compute {

namespace {

const char* name_of(FileType type) {
  switch (type) {
    case FileType::file:
      return "file";
    case FileType::directory:
      return "directory";
    case FileType::other:
      return "other";
  }
  return "other";
}

Napi::Object to_js(Napi::Env env, const FileStatus& status) {
  const Napi::Object result = Napi::Object::New(env);
  result.Set("type", name_of(status.type));
  result.Set("sizeBytes", static_cast<double>(status.size_bytes));
  result.Set("allocatedBytes", static_cast<double>(status.allocated_bytes));
  result.Set("inode", static_cast<double>(status.inode));
  result.Set("mtimeMs", status.mtime_ms);
  result.Set("mode", status.mode);
  result.Set("uid", status.uid);
  result.Set("links", static_cast<double>(status.links));
  return result;
}

/// Text as UTF-8, bytes as they are; copied, since a worker thread must not look at memory that JavaScript
/// owns.
std::string to_bytes(const Napi::Value& value, const char* name) {
  if (value.IsString()) return value.As<Napi::String>().Utf8Value();
  if (value.IsTypedArray() && value.As<Napi::TypedArray>().TypedArrayType() == napi_uint8_array) {
    const auto bytes = value.As<Napi::Uint8Array>();
    return {reinterpret_cast<const char*>(bytes.Data()), bytes.ElementLength()};
  }
  throw InvalidArgument(std::string(name) + " must be a string or a Uint8Array");
}

WriteHow to_how(const Napi::Value& value) {
  const std::string how = to_text(value, "how");
  if (how == "create") return WriteHow::create;
  if (how == "replace") return WriteHow::replace;
  if (how == "append") return WriteHow::append;
  throw InvalidArgument("how must be create, replace or append");
}

Napi::Value rotate_log_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 2),
        [path = to_text(info[0], "path"), most = to_size(info[1], "maxBytes")](const Cancellation&) {
          return rotate_log(path, most);
        },
        [](Napi::Env env, bool rotated) { return Napi::Boolean::New(env, rotated); });
  });
}

Napi::Value make_directory_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 2),
        [path = to_text(info[0], "path"), mode = to_flags(info[1], "mode")](const Cancellation&) {
          return make_directory(path, mode);
        },
        [](Napi::Env env, bool made) { return Napi::Boolean::New(env, made); });
  });
}

Napi::Value write_file_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    const Napi::Object options = to_object(info[2], "options");
    return Async(info.Env(), Lane::file, call_id(info, 3),
                 [path = to_text(info[0], "path"), data = to_bytes(info[1], "data"),
                  how = to_how(options.Get("how")), mode = to_flags(options.Get("mode"), "mode"),
                  sync = to_bool(options.Get("sync"), "sync")](const Cancellation&) {
                   write_file(path, data, how, mode, sync);
                 });
  });
}

Napi::Value read_file_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 2),
        [path = to_text(info[0], "path"), most = to_size(info[1], "maxBytes")](const Cancellation&) {
          return read_file(path, most);
        },
        [](Napi::Env env, const std::string& bytes) {
          return Napi::Buffer<char>::Copy(env, bytes.data(), bytes.size());
        });
  });
}

Napi::Value list_directory_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 1),
        [path = to_text(info[0], "path")](const Cancellation&) { return list_directory(path); },
        [](Napi::Env env, const std::vector<std::string>& names) {
          const Napi::Array result = Napi::Array::New(env, names.size());
          for (std::uint32_t i = 0; i < names.size(); ++i) result.Set(i, names[i]);
          return result;
        });
  });
}

Napi::Value read_directory_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 2),
        [path = to_text(info[0], "path"), most = to_size(info[1], "maxBytes")](const Cancellation& cancel) {
          return read_directory(path, most, cancel);
        },
        [](Napi::Env env, const std::vector<DirectoryEntry>& entries) {
          const Napi::Array result = Napi::Array::New(env, entries.size());
          for (std::uint32_t i = 0; i < entries.size(); ++i) {
            const Napi::Object entry = to_js(env, entries[i].status);
            entry.Set("name", entries[i].name);
            entry.Set("content", entries[i].content);
            result.Set(i, entry);
          }
          return result;
        });
  });
}

Napi::Value publish_file_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 3),
        [source = to_text(info[0], "source"), target = to_text(info[1], "target"),
         sync = to_bool(info[2], "sync")](const Cancellation&) { publish_file(source, target, sync); });
  });
}

Napi::Value stat_file_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 1),
        [path = to_text(info[0], "path")](const Cancellation&) { return stat_file(path); },
        [](Napi::Env env, const std::optional<FileStatus>& status) -> Napi::Value {
          if (!status) return env.Undefined();
          return to_js(env, *status);
        });
  });
}

/// Four numbers for each path: allocated bytes, size, time of the last change in milliseconds, inode; NaN
/// where there is nothing.
Napi::Value stat_files_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 1),
        [paths = to_texts(info[0], "paths")](const Cancellation&) {
          std::vector<double> numbers;
          numbers.reserve(paths.size() * 4);
          for (const std::string& path : paths) {
            const auto status = stat_file(path);
            const auto number = [&](auto FileStatus::*field) {
              return status ? static_cast<double>((*status).*field)
                            : std::numeric_limits<double>::quiet_NaN();
            };
            numbers.insert(numbers.end(),
                           {number(&FileStatus::allocated_bytes), number(&FileStatus::size_bytes),
                            number(&FileStatus::mtime_ms), number(&FileStatus::inode)});
          }
          return numbers;
        },
        [](Napi::Env env, const std::vector<double>& numbers) -> Napi::Value {
          Napi::Float64Array array = Napi::Float64Array::New(env, numbers.size());
          std::copy(numbers.begin(), numbers.end(), array.Data());
          return array;
        });
  });
}

Napi::Value stat_fs_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 1),
        [path = to_text(info[0], "path")](const Cancellation&) { return stat_file_system(path); },
        [](Napi::Env env, const FileSystemStatus& status) {
          const Napi::Object result = Napi::Object::New(env);
          result.Set("totalBytes", static_cast<double>(status.total_bytes));
          result.Set("freeBytes", static_cast<double>(status.free_bytes));
          result.Set("availableBytes", static_cast<double>(status.available_bytes));
          return result;
        });
  });
}

Napi::Value remove_tree_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 1),
        [path = to_text(info[0], "path")](const Cancellation& cancel) { remove_tree(path, cancel); });
  });
}

Napi::Value set_owner_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(info.Env(), Lane::file, call_id(info, 3),
                 [path = to_text(info[0], "path"), uid = to_flags(info[1], "uid"),
                  gid = to_flags(info[2], "gid")](const Cancellation&) { set_owner(path, uid, gid); });
  });
}

/// The JavaScript side of a FileLock. A collected one is released: nobody is left who could.
class FileLockObject : public Napi::ObjectWrap<FileLockObject> {
 public:
  static void define(Napi::Env env) {
    Environment::of(env).file_lock_constructor =
        Napi::Persistent(DefineClass(env, "FileLock", {InstanceMethod<&FileLockObject::release>("release")}));
  }

  static Napi::Value make(Napi::Env env, std::shared_ptr<FileLock> lock) {
    if (!lock) return env.Undefined();
    auto carried = Napi::External<std::shared_ptr<FileLock>>::New(env, &lock);
    return Environment::of(env).file_lock_constructor.New({carried});
  }

  explicit FileLockObject(const Napi::CallbackInfo& info) : ObjectWrap(info) {
    if (!info[0].IsExternal()) throw Napi::TypeError::New(info.Env(), "a FileLock comes from lockFile");
    lock_ = std::move(*info[0].As<Napi::External<std::shared_ptr<FileLock>>>().Data());
  }

  void Finalize(Napi::BasicEnv) override { dispose(std::move(lock_)); }

 private:
  Napi::Value release(const Napi::CallbackInfo& info) {
    // Taken out on this thread: a second call finds nothing, and no two threads release one lock.
    return Guarded(info.Env(), [&] {
      return Async(info.Env(), Lane::file, call_id(info, 0), [lock = std::move(lock_)](const Cancellation&) {
        if (lock) lock->release();
      });
    });
  }

  std::shared_ptr<FileLock> lock_;
};

Napi::Value lock_file_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&]() -> Napi::Value {
    const std::string path = to_text(info[0], "path");
    const Napi::Object options = to_object(info[1], "options");
    const bool shared = to_bool(options.Get("shared"), "shared");
    const auto convert = [](Napi::Env env, std::shared_ptr<FileLock> lock) {
      return FileLockObject::make(env, std::move(lock));
    };
    if (to_bool(options.Get("wait"), "wait")) {
      return AsyncElsewhere<std::shared_ptr<FileLock>>(
          info.Env(), call_id(info, 2),
          [&](std::shared_ptr<Cancellation> cancellation, const auto& finish) {
            LockWaiter::process().wait(path, shared, std::move(cancellation),
                                       [finish](std::unique_ptr<FileLock> lock, std::exception_ptr failure) {
                                         if (failure) {
                                           finish(std::move(failure));
                                         } else {
                                           finish(std::shared_ptr<FileLock>(std::move(lock)));
                                         }
                                       });
          },
          convert);
    }
    return Async(
        info.Env(), Lane::file, call_id(info, 2),
        [path, shared](const Cancellation&) {
          auto lock = FileLock::try_lock(path, shared);
          return lock ? std::make_shared<FileLock>(std::move(*lock)) : nullptr;
        },
        convert);
  });
}

Napi::Value make_secret_file_call(const Napi::CallbackInfo& info) {
  return Guarded(info.Env(), [&] {
    return Async(
        info.Env(), Lane::file, call_id(info, 1),
        [secret = to_bytes(info[0], "secret")](const Cancellation&) {
          return std::make_shared<FileDescriptor>(make_secret_file(secret.data(), secret.size()));
        },
        // The caller closes it.
        [](Napi::Env env, const std::shared_ptr<FileDescriptor>& file) {
          return Napi::Number::New(env, file->release());
        });
  });
}

}  // namespace

void define_storage_functions(Napi::Env env, Napi::Object exports) {
  FileLockObject::define(env);
  const auto set = [&](const char* name, auto function) { exports.Set(name, function); };
  set("makeDirectory", Napi::Function::New<&make_directory_call>(env, "makeDirectory"));
  set("rotateLog", Napi::Function::New<&rotate_log_call>(env, "rotateLog"));
  set("writeFile", Napi::Function::New<&write_file_call>(env, "writeFile"));
  set("readFile", Napi::Function::New<&read_file_call>(env, "readFile"));
  set("listDirectory", Napi::Function::New<&list_directory_call>(env, "listDirectory"));
  set("readDirectory", Napi::Function::New<&read_directory_call>(env, "readDirectory"));
  set("publishFile", Napi::Function::New<&publish_file_call>(env, "publishFile"));
  set("statFile", Napi::Function::New<&stat_file_call>(env, "statFile"));
  set("statFiles", Napi::Function::New<&stat_files_call>(env, "statFiles"));
  set("statFs", Napi::Function::New<&stat_fs_call>(env, "statFs"));
  set("removeTree", Napi::Function::New<&remove_tree_call>(env, "removeTree"));
  set("setOwner", Napi::Function::New<&set_owner_call>(env, "setOwner"));
  set("makeSecretFile", Napi::Function::New<&make_secret_file_call>(env, "makeSecretFile"));
  set("lockFile", Napi::Function::New<&lock_file_call>(env, "lockFile"));
}

}  // namespace node_compute
