// What an image says of itself: the facts of `qemu-img info`, from the header and the lists of snapshots and
// bitmaps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "image/qcow2_bitmaps.h"
#include "image/qcow2_header.h"
#include "image/qcow2_snapshots.h"
#include "image/source_file.h"

namespace node_compute {

struct Qcow2Info {
  Qcow2Header header;
  std::vector<Qcow2Snapshot> snapshots;
  std::vector<Qcow2Bitmap> bitmaps;
  /// Where the backing file is seen from here: the directory of the image before a relative name.
  std::string full_backing_name;
};

struct ImageInfo {
  std::string format;
  std::uint64_t virtual_size = 0;
  /// What the file takes of its file system.
  std::uint64_t actual_size = 0;
  std::optional<Qcow2Info> qcow2;
};

/// Of a `raw` or `qcow2` image: the format is believed, never probed. Reads no tables and no guest bytes, and
/// opens no other file. It is no judgement: inspect_image makes that. ImageError where no reader could make
/// sense of the image, SystemError.
ImageInfo image_info(const std::string& path, const std::string& format);

/// The same for an open file.
ImageInfo file_info(const SourceFile& file, const std::string& format);

}  // namespace node_compute
