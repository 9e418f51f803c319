// libFuzzer: any bytes, declared as each format in turn, give a verdict; nothing else may come out.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "executor/cancellation.h"
#include "image/convert_raw.h"
#include "image/image_error.h"
#include "image/inspect.h"

using namespace node_compute;

namespace {

void convert(SourceFile source, const Qcow2Header& header) {
  const FileDescriptor target(memfd_create("raw", MFD_CLOEXEC));
  if (!target) std::abort();
  std::vector<Layer> layers;
  layers.push_back({std::move(source), header});
  Cancellation never;
  convert_to_raw(Disk(std::move(layers)), target.get(), "raw", {1}, never);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FileDescriptor file(memfd_create("image", MFD_CLOEXEC));
  if (!file) std::abort();
  for (std::size_t done = 0; done < size;) {
    const ssize_t put = ::write(file.get(), data + done, size - done);
    if (put <= 0) std::abort();
    done += static_cast<std::size_t>(put);
  }
  SourceFile source(std::move(file), "image");
  const Cancellation never;
  for (const char* format : {"qcow2", "raw", "iso"}) {
    try {
      const ImageVerdict verdict = inspect_file(source, format, std::uint64_t{1} << 50, never);
      if (verdict.virtual_size == 0 || verdict.virtual_size > std::uint64_t{1} << 50) std::abort();
      if (verdict.qcow2 && verdict.virtual_size <= std::uint64_t{1} << 24) {
        convert(std::move(source), *verdict.qcow2);
        return 0;
      }
    } catch (const ImageError&) {
      continue;
    }
  }
  return 0;
}
