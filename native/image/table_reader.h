// Tables of numbers in an image, read in pieces: memory does not grow with the table.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "executor/cancellation.h"
#include "executor/failure.h"
#include "image/raw_map.h"
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

/// The same without the holes of the file, where all numbers are 0: time is bounded by the room that the file
/// takes, not by its length.
template <class Number, Number (*load)(const std::uint8_t*), class Visit>
void each_stored_number(const SourceFile& file, std::uint64_t offset, std::uint64_t entries,
                        const Cancellation& cancel, Visit visit) {
  Extents extents;
  RawMap(file).read(offset, entries * sizeof(Number), extents);
  for (const Extent& extent : extents) {
    if (extent.kind != Extent::Kind::data) continue;
    const std::uint64_t first = (extent.offset - offset) / sizeof(Number);
    each_number<Number, load>(file, extent.offset, extent.bytes / sizeof(Number), cancel,
                              [&](std::uint64_t index, Number value) { visit(first + index, value); });
  }
}

}  // namespace node_compute
