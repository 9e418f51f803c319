// The directory of a qcow2 image's persistent dirty bitmaps.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "image/qcow2_header.h"
#include "image/source_file.h"

namespace node_compute {

struct Qcow2Bitmap {
  /// As it stands in the directory: any bytes.
  std::string name;
  /// Of the table with its clusters.
  std::uint64_t table_offset = 0;
  std::uint32_t table_entries = 0;
  /// Guest bytes to a bit.
  std::uint64_t granularity = 0;
  /// Was not saved: its bits mean nothing.
  bool in_use = false;
  /// Follows the writes of whoever opens the image.
  bool automatic = false;
};

/// Calls `visit` for each bitmap, in the order of the directory. Refuses (`bitmaps`) a directory that QEMU
/// does not read (check_dir_entry, bitmap_list_load and load_bitmap_data of its block/qcow2-bitmap.c).
void each_bitmap(const SourceFile& file, const Qcow2Header& header,
                 const std::function<void(const Qcow2Bitmap&)>& visit);

}  // namespace node_compute
