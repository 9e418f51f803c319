// libFuzzer: the parsers beside qcow2, one in a run; FUZZ_PARSER names it. For an image the input is no file
// but a list of changes to a small good one, whose checksums are made right again: each run begins behind the
// first checks. For "vmdk_descriptor" it is text.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "disk_fixture.h"
#include "executor/cancellation.h"
#include "image/formats/vmdk_descriptor.h"
#include "image/image_error.h"
#include "image/inspect.h"

using namespace node_compute;
using namespace node_compute::test;

namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 50;
constexpr std::size_t kPage = 4096;

using Input = std::basic_string_view<std::uint8_t>;

struct Changed {
  Sample sample;
  /// Where the good image is not zero: only there are changes of interest, and only that is written.
  std::vector<std::size_t> pages;

  explicit Changed(Sample good) : sample(std::move(good)) {
    const Bytes& bytes = sample.bytes;
    for (std::size_t page = 0; page < bytes.size(); page += kPage) {
      const auto first = bytes.begin() + static_cast<std::ptrdiff_t>(page);
      const auto last = bytes.begin() + static_cast<std::ptrdiff_t>(std::min(page + kPage, bytes.size()));
      if (std::any_of(first, last, [](std::uint8_t byte) { return byte != 0; })) pages.push_back(page);
    }
  }
};

SourceFile file_of(const Bytes& bytes, const std::vector<std::size_t>& pages) {
  FileDescriptor file(memfd_create("image", MFD_CLOEXEC));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes.size())) != 0) std::abort();
  for (const std::size_t page : pages) {
    if (page >= bytes.size()) break;
    const std::size_t length = std::min(kPage, bytes.size() - page);
    const ssize_t put = ::pwrite(file.get(), bytes.data() + page, length, static_cast<off_t>(page));
    if (put != static_cast<ssize_t>(length)) std::abort();
  }
  return SourceFile(std::move(file), "image");
}

/// Nothing but a verdict or an ImageError may come out, and a verdict must be a possible one.
void inspect_any(const SourceFile& file, const std::string& format) {
  const Cancellation never;
  try {
    const Encryption encryption = format == "luks" ? Encryption::luks : Encryption::refused;
    const ImageVerdict verdict = inspect_file(file, format, kMostBytes, never, encryption);
    if (verdict.virtual_size == 0 || verdict.virtual_size > kMostBytes) std::abort();
    if (verdict.data_bytes > verdict.virtual_size) std::abort();
  } catch (const ImageError& error) {
    if (error.rule.empty()) std::abort();
  }
}

/// The first byte chooses the image, whether it is sealed and whether it is cut, then changes follow: three
/// bytes of place, four of content.
void fuzz_images(const std::vector<Changed>& images, Input input) {
  if (input.empty()) return;
  const auto& [good, pages] = images[input[0] % 64 % images.size()];
  // Kept between runs: AddressSanitizer makes new memory of this size slow.
  static Sample image;
  image = good;
  for (std::size_t at = 1; at + 7 <= input.size(); at += 7) {
    const std::size_t in_page = static_cast<std::size_t>(input[at + 1] | input[at + 2] << 8) % kPage;
    const std::size_t place = std::min(pages[input[at] % pages.size()] + in_page, image.bytes.size() - 4);
    std::memcpy(image.bytes.data() + place, input.data() + at + 3, 4);
  }
  if (input[0] < 192) image.seal(image.bytes);
  if ((input[0] & 64) != 0) image.bytes.resize(image.bytes.size() - image.bytes.size() / 8);
  inspect_any(file_of(image.bytes, pages), image.format);
}

/// What is accepted must not hold what QEMU goes by to open other files.
void fuzz_descriptor(Input input) {
  // Behind a good beginning, so that the first bytes need not be guessed.
  const std::string text = "# Disk DescriptorFile\nRW 4096 SPARSE \"a\"\ncreateType=\"monolithicSparse\"\n" +
                           std::string(input.begin(), input.end());
  try {
    check_vmdk_descriptor(text, 4096);
    if (text.find("parentFileNameHint") != std::string::npos) std::abort();
    // Of lines that QEMU may take for an extent there is the one above.
    if (std::string_view(text.c_str()).find("\nRW ", 40) != std::string_view::npos) std::abort();
  } catch (const ImageError& error) {
    if (error.rule.empty()) std::abort();
  }
}

template <class... Samples>
std::function<void(Input)> changed(Samples... samples) {
  return [images = std::vector{Changed(std::move(samples))...}](Input input) { fuzz_images(images, input); };
}

std::function<void(Input)> parser() {
  const char* name = std::getenv("FUZZ_PARSER");
  const std::string parser = name == nullptr ? "" : name;
  if (parser == "luks") return changed(luks(65536));
  if (parser == "ploop") return changed(parallels(), parallels(false));
  if (parser == "qcow1") return changed(qcow1());
  if (parser == "qed") return changed(qed());
  if (parser == "vdi") return changed(vdi());
  if (parser == "vhd") return changed(fixed_vhd(), dynamic_vhd());
  if (parser == "vhdx") return changed(vhdx());
  if (parser == "vmdk") return changed(sparse_vmdk(), stream_vmdk());
  if (parser == "vmdk_descriptor") return fuzz_descriptor;
  std::fprintf(stderr,
               "FUZZ_PARSER is none of luks, ploop, qcow1, qed, vdi, vhd, vhdx, vmdk, vmdk_descriptor\n");
  std::exit(2);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::function<void(Input)> kFuzz = parser();
  kFuzz({data, size});
  return 0;
}
