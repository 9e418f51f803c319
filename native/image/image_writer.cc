#include "image/image_writer.h"

#include <unistd.h>

#include <cerrno>

#include "executor/failure.h"
#include "image/image_io.h"

namespace node_compute {

void ImageWriter::write(std::uint64_t offset, const std::vector<std::uint8_t>& data) {
  write_at(descriptor_, data.data(), data.size(), offset, name_);
}

void ImageWriter::resize(std::uint64_t bytes) { truncate_to(descriptor_, bytes, name_); }

void ImageWriter::barrier() {
  while (::fdatasync(descriptor_) != 0) {
    if (errno != EINTR) throw SystemError(errno, "fdatasync", name_);
  }
}

}  // namespace node_compute
