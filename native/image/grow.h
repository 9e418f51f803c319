// Makes the disk in an image larger, in place, so that no crash leaves anything but a good image.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "executor/cancellation.h"
#include "image/disk.h"
#include "image/image_writer.h"
#include "image/source_file.h"

namespace node_compute {

struct GrowResult {
  std::uint64_t old_virtual_size = 0;
  std::uint64_t virtual_size = 0;
};

/// What `qemu-img resize` does to a `raw` or `qcow2` image, without ever making it smaller; `virtual_size` is
/// rounded up to a multiple of 512, and nothing is done where the disk has that size already. Durable when it
/// returns. Whenever the process or the host dies, the image is good and has the old size or the new one; at
/// worst clusters are leaked.
///
/// Where the backing file is longer than the disk, its rest is covered with zero clusters before the new size
/// can be seen.
///
/// QEMU and its tools are locked out meanwhile. What is refused is not touched: ImageError `in-use`,
/// `shrink`, `too-large`, `dirty`, `bitmaps`, `snapshots`, `backing-file`, `refcount-table` and all rules of
/// the validator; SystemError, Cancelled (the file is then as it was).
///
/// The image comes first, those below it follow where it has a backing file: of the first of them only the
/// length is read; it and what is further below only where the end of the disk splits a cluster that the rest
/// of a longer backing file goes on in.
GrowResult grow_image(const std::vector<LayerName>& layers, std::uint64_t virtual_size,
                      const Cancellation& cancel);

/// The same for a locked file, which `writer` writes to; `below` is empty where it has no backing file.
GrowResult grow_file(const SourceFile& file, ImageWriter& writer, const std::string& format,
                     const std::vector<LayerName>& below, std::uint64_t virtual_size,
                     const Cancellation& cancel);

}  // namespace node_compute
