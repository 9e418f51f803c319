// LUKS images: a header with the keys, and the encrypted disk behind it.
#include "image/byte_order.h"
#include "image/formats/disk_formats.h"
#include "image/luks_header.h"
#include "image/virtual_size.h"

namespace node_compute {

DiskFacts inspect_luks(const SourceFile& file, std::uint64_t max_virtual_bytes, const Cancellation&) {
  const std::uint64_t payload = check_luks_header(file, 0, file.size());
  // QEMU counts the file in whole sectors.
  const std::uint64_t virtual_size = divide_up(file.size(), 512) * 512 - payload;
  check_virtual_size(virtual_size, max_virtual_bytes);
  return {virtual_size, virtual_size};
}

}  // namespace node_compute
