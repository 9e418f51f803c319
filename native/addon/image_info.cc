#include "addon/image_info.h"

#include <algorithm>
#include <vector>

#include "image/qcow2_format.h"

namespace node_compute {

namespace {

constexpr std::uint64_t kSecond = 1000000000;
/// Where QEMU cuts the texts of a snapshot.
constexpr std::size_t kIdBytes = 127;
constexpr std::size_t kNameBytes = 255;

/// As the C string that QEMU sees. Bytes that are not UTF-8 become U+FFFD.
Napi::String text(Napi::Env env, const std::string& bytes, std::size_t limit = std::string::npos) {
  return Napi::String::New(env, bytes.substr(0, std::min(bytes.find('\0'), limit)));
}

/// QEMU's numbers of JSON are signed.
Napi::Number number(Napi::Env env, std::uint64_t value) {
  return Napi::Number::New(env, static_cast<double>(static_cast<std::int64_t>(value)));
}

template <class Item, class Convert>
Napi::Array list(Napi::Env env, const std::vector<Item>& items, Convert convert) {
  const Napi::Array array = Napi::Array::New(env, items.size());
  for (std::size_t i = 0; i < items.size(); ++i) {
    // A table has up to 65536 of them, each of a dozen values.
    const Napi::HandleScope scope(env);
    array.Set(static_cast<std::uint32_t>(i), convert(items[i]));
  }
  return array;
}

Napi::Object snapshot_to_js(Napi::Env env, const Qcow2Snapshot& snapshot) {
  const Napi::Object object = Napi::Object::New(env);
  object.Set("id", text(env, snapshot.id, kIdBytes));
  object.Set("name", text(env, snapshot.name, kNameBytes));
  object.Set("vm-state-size", number(env, snapshot.vm_state_bytes));
  object.Set("date-sec", snapshot.date_seconds);
  object.Set("date-nsec", snapshot.date_nanoseconds);
  object.Set("vm-clock-sec", number(env, snapshot.vm_clock_nanoseconds / kSecond));
  object.Set("vm-clock-nsec", number(env, snapshot.vm_clock_nanoseconds % kSecond));
  if (snapshot.instructions) object.Set("icount", number(env, *snapshot.instructions));
  return object;
}

Napi::Object bitmap_to_js(Napi::Env env, const Qcow2Bitmap& bitmap) {
  const Napi::Object object = Napi::Object::New(env);
  const Napi::Array flags = Napi::Array::New(env);
  if (bitmap.in_use) flags.Set(flags.Length(), "in-use");
  if (bitmap.automatic) flags.Set(flags.Length(), "auto");
  object.Set("name", text(env, bitmap.name));
  object.Set("granularity", number(env, bitmap.granularity));
  object.Set("flags", flags);
  return object;
}

Napi::Object specific_to_js(Napi::Env env, const Qcow2Info& info) {
  const Qcow2Header& header = info.header;
  const Napi::Object data = Napi::Object::New(env);
  data.Set("compat", header.version == 2 ? "0.10" : "1.1");
  data.Set("compression-type", header.compression_type == 0 ? "zlib" : "zstd");
  data.Set("refcount-bits", 1U << header.refcount_order);
  if (header.version >= 3) {
    data.Set("lazy-refcounts", (header.compatible & qcow2::kCompatibleLazyRefcounts) != 0);
    data.Set("corrupt", header.corrupt());
    data.Set("extended-l2", header.extended_l2());
    if (header.data_file) {
      data.Set("data-file", text(env, header.data_file_name));
      data.Set("data-file-raw", (header.autoclear & qcow2::kAutoclearRawDataFile) != 0);
    }
    if (!info.bitmaps.empty()) {
      data.Set("bitmaps",
               list(env, info.bitmaps, [env](const Qcow2Bitmap& item) { return bitmap_to_js(env, item); }));
    }
  }
  if (header.encrypted) {
    const Napi::Object encrypt = Napi::Object::New(env);
    encrypt.Set("format", header.encryption_method == qcow2::kEncryptionAes ? "aes" : "luks");
    data.Set("encrypt", encrypt);
  }
  const Napi::Object specific = Napi::Object::New(env);
  specific.Set("type", "qcow2");
  specific.Set("data", data);
  return specific;
}

}  // namespace

Napi::Value to_js(Napi::Env env, const std::string& filename, const ImageInfo& info) {
  const Napi::Object object = Napi::Object::New(env);
  object.Set("filename", filename);
  object.Set("format", info.format);
  object.Set("virtual-size", number(env, info.virtual_size));
  object.Set("actual-size", number(env, info.actual_size));
  object.Set("dirty-flag", info.qcow2 && info.qcow2->header.dirty());
  if (!info.qcow2) return object;
  const Qcow2Info& qcow2 = *info.qcow2;
  object.Set("cluster-size", number(env, qcow2.header.cluster_size()));
  if (qcow2.header.encrypted) object.Set("encrypted", true);
  if (!qcow2.full_backing_name.empty()) {
    object.Set("backing-filename", text(env, *qcow2.header.backing_name));
    object.Set("full-backing-filename", text(env, qcow2.full_backing_name));
    if (!qcow2.header.backing_format.empty()) {
      object.Set("backing-filename-format", text(env, qcow2.header.backing_format));
    }
  }
  if (!qcow2.snapshots.empty()) {
    object.Set("snapshots", list(env, qcow2.snapshots,
                                 [env](const Qcow2Snapshot& item) { return snapshot_to_js(env, item); }));
  }
  object.Set("format-specific", specific_to_js(env, qcow2));
  return object;
}

}  // namespace node_compute
