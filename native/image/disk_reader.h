// Reads guest bytes through a chain's map; one for each thread.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "image/decompressor.h"
#include "image/disk.h"

namespace node_compute {

/// Not thread-safe. Keeps the cluster that it decompressed last. ImageError `compressed-cluster`,
/// `truncated`, SystemError.
class DiskReader {
 public:
  explicit DiskReader(const Disk& disk) : disk_(disk) {}

  /// All of it; the range lies on the disk.
  void read(std::uint64_t offset, std::uint8_t* target, std::uint64_t bytes);
  /// The part of an extent of `data` or `compressed` that begins `from` bytes into it.
  void read(const Extent& extent, std::uint64_t from, std::uint8_t* target, std::uint64_t bytes);

 private:
  void read_compressed(const Extent& extent, std::uint64_t skip, std::uint8_t* target, std::uint64_t bytes);
  void decompress(const Extent& extent, std::uint8_t* target, std::uint64_t cluster);

  const Disk& disk_;
  std::optional<Decompressor> decompressors_[2];
  std::vector<std::uint8_t> stream_;
  std::vector<std::uint8_t> cluster_;
  /// What cluster_ holds.
  std::optional<std::pair<std::uint32_t, std::uint64_t>> held_;
};

}  // namespace node_compute
