// Tables of numbers in an image, read in pieces: memory does not grow with the table.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "executor/cancellation.h"
#include "executor/failure.h"
#include "image/source_file.h"

namespace node_compute {

/// Calls `visit(index, value)` for each number of a table, which `load` reads from its bytes. ImageError
/// `truncated` where the table leaves the file.
template <class Number, Number (*load)(const std::uint8_t*), class Visit>
void each_number(const SourceFile& file, std::uint64_t offset, std::uint64_t entries,
                 const Cancellation& cancel, Visit visit) {
  constexpr std::uint64_t kPieceBytes = 64 * 1024;
  std::vector<std::uint8_t> piece(
      static_cast<std::size_t>(std::min(entries, kPieceBytes / sizeof(Number)) * sizeof(Number)));
  for (std::uint64_t index = 0; index < entries;) {
    if (cancel.cancelled()) throw Cancelled();
    const std::uint64_t count = std::min<std::uint64_t>(entries - index, piece.size() / sizeof(Number));
    file.read(offset + index * sizeof(Number), piece.data(),
              static_cast<std::size_t>(count) * sizeof(Number));
    for (std::uint64_t i = 0; i < count; ++i) visit(index + i, load(piece.data() + i * sizeof(Number)));
    index += count;
  }
}

}  // namespace node_compute
