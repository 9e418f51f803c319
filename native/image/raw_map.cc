#include "image/raw_map.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "executor/failure.h"

namespace node_compute {

std::uint64_t RawMap::seek(std::uint64_t offset, int whence) const {
  const off_t found = ::lseek(file_.descriptor(), static_cast<off_t>(offset), whence);
  if (found >= 0) return std::min(static_cast<std::uint64_t>(found), file_.size());
  if (errno == ENXIO) return file_.size();
  if (errno == EINVAL) return whence == SEEK_DATA ? offset : file_.size();
  throw SystemError(errno, "seek", file_.name());
}

void RawMap::read(std::uint64_t offset, std::uint64_t bytes, Extents& extents) const {
  const std::uint64_t end = offset + bytes;
  while (offset < end) {
    const std::uint64_t data = std::min(seek(offset, SEEK_DATA), end);
    if (data > offset) append(extents, {Extent::Kind::zeros, offset, data - offset});
    if (data == end) return;
    const std::uint64_t hole = std::min(seek(data, SEEK_HOLE), end);
    append(extents, {Extent::Kind::data, data, hole - data, data});
    offset = hole;
  }
}

std::uint64_t RawMap::next(std::uint64_t offset) const { return seek(offset, SEEK_DATA); }

}  // namespace node_compute
