#include "image/info.h"

#include "image/byte_order.h"
#include "image/image_error.h"

namespace node_compute {

namespace {

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
  each_snapshot(file, qcow2.header,
                [&qcow2](const Qcow2Snapshot& snapshot) { qcow2.snapshots.push_back(snapshot); });
  each_bitmap(file, qcow2.header, [&qcow2](const Qcow2Bitmap& bitmap) { qcow2.bitmaps.push_back(bitmap); });
  qcow2.full_backing_name = full_name(file.name(), qcow2.header.backing_name.value_or(""));
  return info;
}

}  // namespace node_compute
