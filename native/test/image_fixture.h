// Files and qcow2 images made byte by byte: what a test expects of an image comes from here, never from a
// parser.
#pragma once

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "executor/cancellation.h"
#include "image/byte_order.h"
#include "image/format.h"
#include "image/image_error.h"
#include "image/inspect.h"
#include "image/qcow2_format.h"
#include "image/qcow2_validator.h"
#include "image/source_file.h"

namespace node_compute::test {

using Bytes = std::vector<std::uint8_t>;

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "node-compute-image-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  std::size_t entries() const {
    const std::filesystem::directory_iterator all(path_);
    return static_cast<std::size_t>(std::distance(begin(all), end(all)));
  }

 private:
  std::string path_;
};

inline void write_bytes(const std::string& path, const Bytes& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

inline Bytes read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

/// An unnamed file in memory.
inline SourceFile in_memory(const Bytes& bytes) {
  FileDescriptor file(memfd_create("image", MFD_CLOEXEC));
  REQUIRE(file);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t put = ::write(file.get(), bytes.data() + done, bytes.size() - done);
    REQUIRE(put > 0);
    done += static_cast<std::size_t>(put);
  }
  return SourceFile(std::move(file), "image");
}

constexpr std::uint64_t kAnySize = std::uint64_t{1} << 50;

inline ImageVerdict inspect(const Bytes& bytes, const std::string& format, std::uint64_t max = kAnySize) {
  const Cancellation never;
  return inspect_file(in_memory(bytes), format, max, never);
}

/// The rule by which the work refuses an image; "" where it does not.
template <class Work>
std::string image_rule(Work work) {
  try {
    work();
    return "";
  } catch (const ImageError& error) {
    return error.rule;
  }
}

/// The rule that refuses the image; "" where it is accepted.
inline std::string rule_of(const Bytes& bytes, const std::string& format = "qcow2",
                           std::uint64_t max = kAnySize) {
  return image_rule([&] { inspect(bytes, format, max); });
}

/// A small good image, and where its parts are. Cluster by cluster: header, refcount table, refcount block,
/// L1 table, one L2 table, data.
struct Qcow2Image {
  std::uint32_t version = 3;
  unsigned cluster_bits = 12;
  std::uint64_t cluster = 4096;
  std::uint64_t virtual_size = 1 << 20;
  std::uint64_t table = 0;
  std::uint64_t block = 0;
  std::uint64_t l1 = 0;
  std::uint64_t l2 = 0;
  std::uint64_t data = 0;
  Bytes bytes;

  explicit Qcow2Image(std::uint32_t format_version = 3, unsigned bits = 12, unsigned data_clusters = 3)
      : version(format_version), cluster_bits(bits), cluster(std::uint64_t{1} << bits) {
    table = cluster;
    block = 2 * cluster;
    l1 = 3 * cluster;
    l2 = 4 * cluster;
    data = 5 * cluster;
    bytes.resize(static_cast<std::size_t>((5 + data_clusters) * cluster), 0);
    put32(0, qcow2::kMagic);
    put32(4, version);
    put32(20, cluster_bits);
    put64(24, virtual_size);
    const std::uint64_t l2_span = cluster * (cluster / 8);
    put32(36, static_cast<std::uint32_t>((virtual_size + l2_span - 1) / l2_span));
    put64(40, l1);
    put64(48, table);
    put32(56, 1);
    if (version >= 3) {
      put32(96, 4);
      put32(100, 104);
    }
    put64(table, block);
    for (std::uint64_t i = 0; i < 5 + data_clusters; ++i) put16(block + i * 2, 1);
    put64(l1, l2 | qcow2::kCopied);
    for (std::uint64_t i = 0; i < data_clusters; ++i) {
      put64(l2 + i * 8, (data + i * cluster) | qcow2::kCopied);
      std::memset(bytes.data() + data + i * cluster, static_cast<int>(0xa0 + i), cluster);
    }
  }

  void put16(std::uint64_t at, std::uint16_t value) { store_be(bytes.data() + at, value); }
  void put32(std::uint64_t at, std::uint32_t value) { store_be(bytes.data() + at, value); }
  void put64(std::uint64_t at, std::uint64_t value) { store_be(bytes.data() + at, value); }
  std::uint64_t get64(std::uint64_t at) const { return load_be<std::uint64_t>(bytes.data() + at); }
  void put_text(std::uint64_t at, const std::string& text) {
    std::memcpy(bytes.data() + at, text.data(), text.size());
  }
  /// A header extension at the first free place of an image that has none yet.
  void put_extension(std::uint32_t type, const Bytes& content) {
    const std::uint64_t at = version >= 3 ? 104 : 72;
    put32(at, type);
    put32(at + 4, static_cast<std::uint32_t>(content.size()));
    std::memcpy(bytes.data() + at + 8, content.data(), content.size());
  }
  /// The same by however few clusters of the file the validator sees at once.
  std::string rule(std::uint64_t max = kAnySize) const {
    const std::string rule = rule_of(bytes, "qcow2", max);
    for (const std::uint64_t window : {1U, 3U}) {
      CAPTURE(window);
      CHECK(rule_in_windows(window, max) == rule);
    }
    return rule;
  }

 private:
  std::string rule_in_windows(std::uint64_t window, std::uint64_t max) const {
    const Cancellation never;
    return image_rule([&] {
      const SourceFile file = in_memory(bytes);
      require(detect_format(file) == "qcow2", "format-mismatch", "another format");
      const Qcow2Facts facts = validate_qcow2(file, {max}, never, window);
      CHECK(facts.data_bytes == inspect(bytes, "qcow2", max).data_bytes);
    });
  }
};

/// Of a bitmap and its directory; the first of its entries is made by put_bitmap.
struct BitmapPlace {
  std::uint64_t directory = 0;
  std::uint64_t table = 0;
  std::uint32_t entries = 1;
  std::uint32_t flags = 0;
  std::uint8_t granularity_bits = 16;
  std::uint32_t extra = 0;
  std::uint64_t directory_bytes = 32;
  std::uint32_t bitmaps = 1;
  std::uint64_t autoclear = qcow2::kAutoclearBitmaps;
};

/// Writes a directory of one bitmap, named `ab`, and the header extension that points to it.
inline void put_bitmap(Qcow2Image& image, const BitmapPlace& place) {
  Bytes extension(24, 0);
  store_be<std::uint32_t>(extension.data(), place.bitmaps);
  store_be<std::uint64_t>(extension.data() + 8, place.directory_bytes);
  store_be<std::uint64_t>(extension.data() + 16, place.directory);
  image.put_extension(qcow2::kExtensionBitmaps, extension);
  image.put64(88, place.autoclear);
  if (place.directory + 32 > image.bytes.size()) return;
  image.put64(place.directory, place.table);
  image.put32(place.directory + 8, place.entries);
  image.put32(place.directory + 12, place.flags);
  image.bytes[place.directory + 16] = 1;
  image.bytes[place.directory + 17] = place.granularity_bits;
  image.put16(place.directory + 18, 2);
  image.put32(place.directory + 20, place.extra);
  image.put_text(place.directory + 24, "ab");
}

/// An L2 entry; of the sectors of a stream it counts those after the first.
inline std::uint64_t compressed_entry(const Qcow2Image& image, std::uint64_t offset,
                                      std::uint64_t extra_sectors) {
  return qcow2::kCompressed | extra_sectors << (62 - (image.cluster_bits - 8)) | offset;
}

/// The size that a file of this process may reach; more is EFBIG instead of a signal.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : signal_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, signal_);
  }

 private:
  rlimit before_{};
  void (*signal_)(int);
};

}  // namespace node_compute::test
