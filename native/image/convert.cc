#include "image/convert.h"

#include <optional>

#include "executor/failure.h"
#include "image/convert_qcow2.h"
#include "image/convert_raw.h"
#include "image/image_io.h"
#include "image/image_lock.h"

namespace node_compute {

ConvertResult convert_image(const std::vector<LayerName>& layers, const std::string& target,
                            const ConvertOptions& options, Cancellation& cancel) {
  if (options.format != "raw" && options.format != "qcow2") {
    throw InvalidArgument("an image is converted to raw or qcow2, not to " + options.format);
  }
  std::optional<FileDescriptor> locked;
  std::optional<ImageLock> lock;
  if (options.lock && !layers.empty()) {
    locked.emplace(open_for_edit(layers.front().path));
    lock.emplace(locked->get(), layers.front().path);
  }
  const Disk disk = Disk::open(layers, options.max_virtual_bytes, cancel);
  NewFile file(target);
  ConvertResult result{disk.size(), 0};
  result.written_bytes =
      options.format == "raw"
          ? convert_to_raw(disk, file.get(), target, {options.threads, options.sync}, cancel)
          : convert_to_qcow2(disk, file.get(), target, options.compression, options.cluster_size,
                             options.threads, cancel);
  if (options.sync) sync(file.get(), target);
  file.keep();
  return result;
}

}  // namespace node_compute
