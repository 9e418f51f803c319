#include "image/info.h"

#include "image/byte_order.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

/// Of the names in one list, all together.
constexpr std::size_t kMaxNameBytes = 8U << 20;

/// Refuses a list whose names take more memory than telling them is worth.
class NameLimit {
 public:
  explicit NameLimit(const char* rule) : rule_(rule) {}
  void add(std::size_t bytes) {
    bytes_ += bytes;
    require(bytes_ <= kMaxNameBytes, rule_, "the names in the image are too long to be told");
  }

 private:
  const char* rule_;
  std::size_t bytes_ = 0;
};

/// As QEMU: a colon before any slash makes it a protocol, which is relative to nothing.
bool is_relative_path(const std::string& name) {
  const std::size_t colon = name.find(':');
  return name.front() != '/' && (colon == std::string::npos || colon > name.find('/'));
}

std::string full_name(const std::string& image, const std::string& backing) {
  if (backing.empty() || !is_relative_path(backing)) return backing;
  return image.substr(0, image.rfind('/') + 1) + backing;
}

}  // namespace

ImageInfo image_info(const std::string& path, const std::string& format) {
  return file_info(SourceFile(path), format);
}

ImageInfo file_info(const SourceFile& file, const std::string& format) {
  ImageInfo info;
  info.format = format;
  info.actual_size = file.blocks_bytes();
  if (format == "raw") {
    info.virtual_size = divide_up(file.size(), 512) * 512;
    return info;
  }
  if (format != "qcow2") {
    throw ImageError("unsupported-format", "images of the format " + format + " are not supported");
  }
  Qcow2Info& qcow2 = info.qcow2.emplace();
  qcow2.header = read_qcow2_header(file);
  info.virtual_size = qcow2.header.virtual_size / 512 * 512;
  NameLimit snapshot_names("snapshots");
  each_snapshot(file, qcow2.header, [&](const Qcow2Snapshot& snapshot) {
    snapshot_names.add(snapshot.id.size() + snapshot.name.size());
    qcow2.snapshots.push_back(snapshot);
  });
  NameLimit bitmap_names("bitmaps");
  each_bitmap(file, qcow2.header, [&](const Qcow2Bitmap& bitmap) {
    bitmap_names.add(bitmap.name.size());
    qcow2.bitmaps.push_back(bitmap);
  });
  qcow2.full_backing_name = full_name(file.name(), qcow2.header.backing_name.value_or(""));
  return info;
}

}  // namespace node_compute
