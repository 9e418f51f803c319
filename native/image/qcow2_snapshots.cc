#include "image/qcow2_snapshots.h"

#include <vector>

#include "image/byte_order.h"
#include "image/image_error.h"
#include "image/qcow2_format.h"

namespace node_compute {

namespace {

using namespace qcow2;

constexpr std::size_t kFixedBytes = 40;

/// What an entry has beyond its fixed part; older images have less of it or nothing.
void parse_extra(const std::vector<std::uint8_t>& extra, Qcow2Snapshot& snapshot) {
  const auto number = [&extra](std::size_t offset) -> std::optional<std::uint64_t> {
    if (extra.size() < offset + 8) return std::nullopt;
    return load_be<std::uint64_t>(extra.data() + offset);
  };
  snapshot.vm_state_bytes = number(0).value_or(snapshot.vm_state_bytes);
  snapshot.virtual_size = number(8);
  snapshot.instructions = number(16);
  if (snapshot.instructions == ~std::uint64_t{0}) snapshot.instructions.reset();
}

}  // namespace

std::uint64_t each_snapshot(const SourceFile& file, const Qcow2Header& header,
                            const std::function<void(const Qcow2Snapshot&)>& visit) {
  if (header.snapshots == 0) return 0;
  if (header.snapshots_offset == 0) throw ImageError("snapshots", "the snapshot table has no place");
  std::uint64_t offset = header.snapshots_offset;
  const auto text = [&file, &offset](std::size_t bytes) {
    std::string value(bytes, '\0');
    file.read(offset, value.data(), bytes);
    offset += bytes;
    return value;
  };
  for (std::uint32_t i = 0; i < header.snapshots; ++i) {
    std::uint8_t entry[kFixedBytes];
    file.read(offset, entry, sizeof entry);
    const std::uint64_t begin = offset;
    offset += sizeof entry;
    Qcow2Snapshot snapshot;
    snapshot.l1_offset = load_be<std::uint64_t>(entry);
    snapshot.l1_entries = load_be<std::uint32_t>(entry + 8);
    snapshot.date_seconds = load_be<std::uint32_t>(entry + 16);
    snapshot.date_nanoseconds = load_be<std::uint32_t>(entry + 20);
    snapshot.vm_clock_nanoseconds = load_be<std::uint64_t>(entry + 24);
    snapshot.vm_state_bytes = load_be<std::uint32_t>(entry + 32);
    const auto extra_bytes = load_be<std::uint32_t>(entry + 36);
    if (extra_bytes > kMaxSnapshotExtraBytes) {
      throw ImageError("snapshots", "a snapshot has too much extra data");
    }
    std::vector<std::uint8_t> extra(extra_bytes);
    file.read(offset, extra.data(), extra.size());
    offset += extra.size();
    parse_extra(extra, snapshot);
    snapshot.id = text(load_be<std::uint16_t>(entry + 12));
    snapshot.name = text(load_be<std::uint16_t>(entry + 14));
    offset = begin + divide_up(offset - begin, 8) * 8;
    if (offset - header.snapshots_offset > kMaxSnapshotTableBytes) {
      throw ImageError("snapshots", "the snapshot table is too large");
    }
    visit(snapshot);
  }
  return offset - header.snapshots_offset;
}

}  // namespace node_compute
