// Where a raw image has data and where holes, by the word of its file system.
#pragma once

#include <cstdint>

#include "image/extent.h"
#include "image/source_file.h"

namespace node_compute {

/// As Qcow2Map. A file system that knows no holes says that all is data.
class RawMap {
 public:
  explicit RawMap(const SourceFile& file) : file_(file) {}

  void read(std::uint64_t offset, std::uint64_t bytes, Extents& extents) const;
  std::uint64_t next(std::uint64_t offset) const;

 private:
  std::uint64_t seek(std::uint64_t offset, int whence) const;

  const SourceFile& file_;
};

}  // namespace node_compute
