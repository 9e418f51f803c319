// Growing as a test sees it: each step noted, each crash between and within them replayed.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <string>

#include "executor/failure.h"
#include "image/grow.h"
#include "image/qcow2_refcounts.h"
#include "image_fixture.h"

namespace node_compute::test {

inline std::uint64_t read_refcount(const SourceFile& file, const Qcow2Header& header, std::uint64_t cluster) {
  const std::uint64_t block_index = cluster / refcounts_per_block(header);
  if (block_index >= header.refcount_table_clusters * header.cluster_size() / 8) return 0;
  std::uint8_t raw[8];
  file.read(header.refcount_table_offset + block_index * 8, raw, sizeof raw);
  const auto block = load_be<std::uint64_t>(raw);
  if (block == 0) return 0;
  const std::uint64_t first_bit = cluster % refcounts_per_block(header) << header.refcount_order;
  const unsigned bits = 1U << header.refcount_order;
  file.read(block + first_bit / 8, raw, bits < 8 ? 1 : bits / 8);
  return load_refcount(raw, bits < 8 ? first_bit % 8 / bits : 0, header.refcount_order);
}

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;

struct Step {
  enum { write, resize, barrier } kind;
  std::uint64_t offset = 0;
  Bytes data = {};
};

/// Notes each step, and fails at one of them.
class RecordingWriter final : public ImageWriter {
 public:
  explicit RecordingWriter(int descriptor, std::size_t fail_at = ~std::size_t{0})
      : ImageWriter(descriptor, "image"), fail_at_(fail_at) {}

  void write(std::uint64_t offset, const Bytes& data) override {
    note({Step::write, offset, data});
    ImageWriter::write(offset, data);
  }
  void resize(std::uint64_t bytes) override {
    note({Step::resize, bytes});
    ImageWriter::resize(bytes);
  }
  void barrier() override { note({Step::barrier}); }

  std::vector<Step> steps;

 private:
  void note(Step step) {
    if (steps.size() == fail_at_) {
      fail_at_ = ~std::size_t{0};
      throw SystemError(ENOSPC, "write", "image");
    }
    steps.push_back(std::move(step));
  }
  std::size_t fail_at_;
};

/// Writes as the steps say; of each write only the sectors that `survives` lets through.
template <class Survives>
void apply(Bytes& bytes, const Step& step, Survives survives) {
  if (step.kind == Step::resize) bytes.resize(static_cast<std::size_t>(step.offset));
  if (step.kind != Step::write) return;
  for (std::uint64_t i = 0; i < step.data.size();) {
    const std::uint64_t length = std::min(step.data.size() - i, 512 - (step.offset + i) % 512);
    if (survives()) {
      const std::uint64_t end = step.offset + i + length;
      if (bytes.size() < end) bytes.resize(static_cast<std::size_t>(end));
      std::memcpy(bytes.data() + step.offset + i, step.data.data() + i, length);
    }
    i += length;
  }
}

inline std::uint64_t word(const Bytes& bytes, std::uint64_t at) {
  return at + 8 <= bytes.size() ? load_be<std::uint64_t>(bytes.data() + at) : 0;
}

/// Clusters that are used more often than they are counted.
inline std::uint64_t uncounted(const Bytes& bytes) {
  const SourceFile file = in_memory(bytes);
  const Cancellation never;
  const Qcow2Header header = validate_qcow2(file, {kAnySize * 4, true}, never).header;
  const std::uint64_t cluster = header.cluster_size();
  std::vector<std::uint64_t> used(static_cast<std::size_t>(divide_up(bytes.size(), cluster)));
  const auto use = [&](std::uint64_t offset, std::uint64_t length) {
    for (std::uint64_t i = offset / cluster; i < divide_up(offset + length, cluster); ++i) {
      ++used.at(static_cast<std::size_t>(i));
    }
  };
  use(0, 1);
  use(header.refcount_table_offset, header.refcount_table_clusters * cluster);
  for (const std::uint64_t block : read_refcount_table(file, header)) {
    if (block != 0) use(block, 1);
  }
  use(header.l1_offset, std::uint64_t{header.l1_entries} * 8);
  for (std::uint64_t i = 0; i < header.l1_entries; ++i) {
    const std::uint64_t table = word(bytes, header.l1_offset + i * 8) & qcow2::kOffsetMask;
    if (table == 0) continue;
    use(table, 1);
    for (std::uint64_t at = table; at < table + cluster; at += 8) {
      if ((word(bytes, at) & qcow2::kOffsetMask) != 0) use(word(bytes, at) & qcow2::kOffsetMask, 1);
    }
  }
  std::uint64_t wrong = 0;
  for (std::uint64_t i = 0; i < used.size(); ++i) {
    if (read_refcount(file, header, i) < used[static_cast<std::size_t>(i)]) ++wrong;
  }
  return wrong;
}

/// The status of qemu-img check: 0 is good, 3 has leaked clusters only; -1 where there is no qemu-img.
inline int qemu_img_check(const std::string& path) {
  static const bool there = std::system("command -v qemu-img >/dev/null") == 0;
  if (!there) return -1;
  const int status = std::system(("qemu-img check -q -f qcow2 " + path + " >/dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/// A small image with counts of 2^order bits.
inline Qcow2Image counted(std::uint32_t version, unsigned cluster_bits, unsigned order) {
  Qcow2Image image(version, cluster_bits);
  // One L1 entry, whatever the cluster.
  image.virtual_size = std::min<std::uint64_t>(image.cluster * (image.cluster / 8), 1 << 20);
  image.put64(24, image.virtual_size);
  image.put32(36, 1);
  if (version >= 3) image.put32(96, order);
  std::memset(image.bytes.data() + image.block, 0, image.cluster);
  for (std::uint64_t i = 0; i < 8; ++i) store_refcount(image.bytes.data() + image.block, i, order, 1);
  return image;
}

struct Growth {
  Bytes before;
  Bytes after;
  std::vector<Step> steps;
};

inline Growth grow(const Bytes& before, std::uint64_t virtual_size, std::size_t fail_at = ~std::size_t{0},
                   const std::vector<LayerName>& below = {}) {
  const ScratchDirectory scratch;
  const std::string path = scratch / "image";
  write_bytes(path, before);
  FileDescriptor descriptor(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  REQUIRE(descriptor);
  RecordingWriter writer(descriptor.get(), fail_at);
  const Cancellation never;
  try {
    grow_file(SourceFile(std::move(descriptor), path), writer, "qcow2", below, virtual_size, never);
  } catch (const SystemError&) {
    // That of fail_at.
  }
  // The descriptor is closed with the source.
  return {before, read_bytes(path), std::move(writer.steps)};
}

/// Calls `judge` with what the file may be after each step, and after any part of the steps that were not
/// synced when the host died.
template <class Judge>
void each_crash(const Growth& growth, std::mt19937_64& random, Judge judge) {
  Bytes durable = growth.before;
  std::vector<Step> epoch;
  for (std::size_t i = 0; i <= growth.steps.size(); ++i) {
    CAPTURE(i);
    const bool end = i == growth.steps.size();
    // Where the process dies.
    Bytes now = durable;
    for (const Step& step : epoch) apply(now, step, [] { return true; });
    if (epoch.size() < 8 || i % 16 == 0) judge(now);
    if (!end && growth.steps[i].kind != Step::barrier) {
      epoch.push_back(growth.steps[i]);
      continue;
    }
    // Where the host dies: any sectors, any length.
    for (int round = 0; round < 10; ++round) {
      Bytes torn = durable;
      for (const Step& step : epoch) {
        if (random() % 4 != 0) apply(torn, step, [&random] { return random() % 3 != 0; });
      }
      judge(torn);
    }
    for (const Step& step : epoch) apply(durable, step, [] { return true; });
    epoch.clear();
  }
  CHECK(durable == growth.after);
}

}  // namespace node_compute::test
