// qcow2 to raw: what the guest sees, whatever the clusters are, by any number of threads; nothing left on
// failure.
#include <sys/stat.h>

#include <string>

#include "executor/failure.h"
#include "image/convert.h"
#include "image/image_lock.h"
#include "image_fixture.h"

using namespace node_compute;
using namespace node_compute::qcow2;
using namespace node_compute::test;

namespace {

ConvertOptions to_raw(unsigned threads = 2, std::uint64_t max_virtual_bytes = kAnySize) {
  ConvertOptions options;
  options.format = "raw";
  options.max_virtual_bytes = max_virtual_bytes;
  options.threads = threads;
  options.sync = false;
  return options;
}

ConvertResult convert_file(const std::string& source, const std::string& target,
                           const ConvertOptions& options, Cancellation& cancel) {
  return convert_image({{source, "qcow2"}}, target, options, cancel);
}

/// Raw deflate without compression (RFC 1951, section 3.2.4): one final block that is stored as it is.
Bytes stored(const Bytes& content) {
  constexpr std::ptrdiff_t kHead = 5;
  const auto length = static_cast<std::uint16_t>(content.size());
  Bytes result(kHead + content.size());
  result[0] = 1;
  result[1] = static_cast<std::uint8_t>(length);
  result[2] = static_cast<std::uint8_t>(length >> 8);
  result[3] = static_cast<std::uint8_t>(~length);
  result[4] = static_cast<std::uint8_t>(~length >> 8);
  std::copy(content.begin(), content.end(), result.begin() + kHead);
  return result;
}

/// Makes a guest cluster compressed: `stream` stands at `at`, anywhere in the file.
void put_compressed(Qcow2Image& image, std::uint64_t guest_cluster, std::uint64_t at, const Bytes& stream) {
  if (image.bytes.size() < at + stream.size()) image.bytes.resize(at + stream.size());
  std::copy(stream.begin(), stream.end(), image.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  const std::uint64_t sectors = (at % 512 + stream.size() - 1) / 512;
  image.put64(image.l2 + guest_cluster * 8, compressed_entry(image, at, sectors));
  const std::uint64_t end = (at / 512 + sectors + 1) * 512;
  for (std::uint64_t cluster = at / image.cluster; cluster * image.cluster < end; ++cluster) {
    const std::uint64_t count = image.block + cluster * 2;
    image.put16(count, static_cast<std::uint16_t>(load_be<std::uint16_t>(image.bytes.data() + count) + 1));
  }
}

/// What the fixture's image holds: three clusters of data, the rest zeros.
Bytes expected_disk(const Qcow2Image& image) {
  Bytes disk(image.virtual_size, 0);
  std::copy(image.bytes.begin() + static_cast<std::ptrdiff_t>(image.data),
            image.bytes.begin() + static_cast<std::ptrdiff_t>(image.data + 3 * image.cluster), disk.begin());
  return disk;
}

struct Converted {
  ConvertResult result;
  Bytes disk;
  std::uint64_t progress = 0;
};

Converted convert(const Qcow2Image& image, const ConvertOptions& options = to_raw()) {
  const ScratchDirectory scratch;
  write_bytes(scratch / "image", image.bytes);
  Cancellation cancel;
  Converted converted;
  converted.result = convert_file(scratch / "image", scratch / "raw", options, cancel);
  converted.disk = read_bytes(scratch / "raw");
  converted.progress = cancel.done();
  return converted;
}

}  // namespace

TEST_CASE("a converted image is its disk, with holes for what is zero") {
  for (const std::uint32_t version : {2U, 3U}) {
    for (const unsigned bits : {9U, 12U, 16U}) {
      CAPTURE(version);
      CAPTURE(bits);
      const Qcow2Image image(version, bits);
      const Converted converted = convert(image);
      CHECK((converted.disk == expected_disk(image)));
      CHECK(converted.result.virtual_bytes == image.virtual_size);
      CHECK(converted.result.written_bytes == 3 * image.cluster);
      CHECK(converted.progress >= image.virtual_size);
    }
  }
}

TEST_CASE("any number of threads gives the same disk") {
  Qcow2Image image(3, 9, 60);
  for (const unsigned threads : {0U, 1U, 3U, 4U, 1000U}) {
    CAPTURE(threads);
    const Converted converted = convert(image, to_raw(threads));
    CHECK(converted.result.written_bytes == 60 * image.cluster);
    CHECK(converted.disk[59 * image.cluster] == 0xa0 + 59);
  }
}

TEST_CASE("zero clusters hide the data behind them") {
  Qcow2Image image;
  image.put64(image.l2, (image.data | kCopied) | kZero);
  Bytes disk = expected_disk(image);
  std::fill(disk.begin(), disk.begin() + static_cast<std::ptrdiff_t>(image.cluster), std::uint8_t{0});
  CHECK((convert(image).disk == disk));
}

TEST_CASE("data that is zero becomes a hole too") {
  Qcow2Image image;
  std::fill(image.bytes.begin() + static_cast<std::ptrdiff_t>(image.data),
            image.bytes.begin() + static_cast<std::ptrdiff_t>(image.data + image.cluster), std::uint8_t{0});
  CHECK(convert(image).result.written_bytes == 2 * image.cluster);
}

TEST_CASE("subclusters are data, zeros or nothing, each for itself") {
  Qcow2Image image(3, 14, 1);
  image.virtual_size = image.cluster * 8;
  image.put64(24, image.virtual_size);
  image.put64(72, kIncompatibleExtendedL2);
  // Subclusters 0, 1 and 31 are data, 2 is zeros.
  image.put64(image.l2 + 8, std::uint64_t{1} << (32 + 2) | 0x80000003);
  const Bytes disk = convert(image).disk;
  const std::uint64_t subcluster = image.cluster / 32;
  for (std::uint64_t i = 0; i < 33; ++i) {
    CAPTURE(i);
    CHECK(disk[i * subcluster] == (i < 2 || i == 31 ? 0xa0 : 0));
  }
}

TEST_CASE("compressed clusters stand anywhere in the file, also at its very end") {
  for (const std::uint64_t shift : {0U, 1U, 511U, 513U}) {
    CAPTURE(shift);
    Qcow2Image image;
    const Bytes content(image.cluster, 0x77);
    put_compressed(image, 1, image.bytes.size() + shift, stored(content));
    put_compressed(image, 9, image.bytes.size(), stored(Bytes(image.cluster, 0x78)));
    Bytes disk = expected_disk(image);
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(image.cluster), image.cluster, std::uint8_t{0x77});
    std::fill_n(disk.begin() + static_cast<std::ptrdiff_t>(9 * image.cluster), image.cluster,
                std::uint8_t{0x78});
    CHECK((convert(image).disk == disk));
  }
}

TEST_CASE("a damaged compressed cluster is refused, and nothing is left") {
  const Bytes content(4096, 0x77);
  Bytes longer = stored(Bytes(4097, 0x77));
  Bytes cut = stored(content);
  cut.resize(100);
  Bytes other_block = stored(content);
  other_block[0] = 7;  // a block of the reserved kind
  for (const Bytes& stream : {longer, cut, other_block, stored(Bytes(4095, 0x77))}) {
    const ScratchDirectory scratch;
    Qcow2Image image;
    put_compressed(image, 1, image.bytes.size(), stream);
    write_bytes(scratch / "image", image.bytes);
    Cancellation never;
    CHECK(image_rule([&] { convert_file(scratch / "image", scratch / "raw", to_raw(), never); }) ==
          "compressed-cluster");
    CHECK(scratch.entries() == 1);
  }
}

TEST_CASE("a disk that is no multiple of 512 bytes is cut to whole sectors, as QEMU does") {
  Qcow2Image image;
  image.virtual_size = 2 * image.cluster + 700;
  image.put64(24, image.virtual_size);
  const Converted converted = convert(image);
  CHECK(converted.result.virtual_bytes == 2 * image.cluster + 512);
  CHECK(converted.disk.size() == converted.result.virtual_bytes);
  CHECK(converted.disk.back() == 0xa2);
}

TEST_CASE("a conversion that is refused, cancelled or out of space leaves nothing") {
  const ScratchDirectory scratch;
  Qcow2Image image;
  write_bytes(scratch / "image", image.bytes);
  Cancellation cancel;
  CHECK(image_rule([&] {
          convert_file(scratch / "image", scratch / "raw", to_raw(1, image.virtual_size - 1), cancel);
        }) == "too-large");
  {
    const FileSizeLimit limit(image.cluster);
    CHECK_THROWS_AS(convert_file(scratch / "image", scratch / "raw", to_raw(), cancel), SystemError);
  }
  cancel.cancel();
  CHECK_THROWS_AS(convert_file(scratch / "image", scratch / "raw", to_raw(), cancel), Cancelled);
  CHECK(scratch.entries() == 1);
  write_bytes(scratch / "raw", {1});
  Cancellation never;
  CHECK_THROWS_AS(convert_file(scratch / "image", scratch / "raw", to_raw(), never), SystemError);
  CHECK((read_bytes(scratch / "raw") == Bytes{1}));
}

TEST_CASE("a disk that is read under QEMU's locks is read by nobody else's leave, and is free afterwards") {
  const ScratchDirectory scratch;
  Cancellation cancel;
  write_bytes(scratch / "image", Bytes(512, 7));
  ConvertOptions options = to_raw();
  options.lock = true;
  const auto convert_it = [&](const std::string& target) {
    convert_image({{scratch / "image", "raw"}}, scratch / target, options, cancel);
  };
  const FileDescriptor other = open_for_edit(scratch / "image");
  {
    const ImageLock held(other.get(), "image");
    CHECK(image_rule([&] { convert_it("refused"); }) == "in-use");
    CHECK(read_bytes(scratch / "image") == Bytes(512, 7));
  }
  convert_it("target");
  CHECK(read_bytes(scratch / "target") == Bytes(512, 7));
  const ImageLock free(other.get(), "image");
}
