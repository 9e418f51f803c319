#include "libvirt/screenshot.h"

#include <array>

#include "executor/failure.h"
#include "libvirt/error.h"
#include "libvirt/handle.h"

namespace node_compute {

Screenshot screenshot(Domain& domain, unsigned screen, std::size_t most) {
  return domain.with([&](virDomainPtr handle) {
    const StreamHandle stream(virStreamNew(virDomainGetConnect(handle), 0));
    if (!stream) throw LibvirtError::last("virStreamNew");
    const StringHandle mime_type(virDomainScreenshot(handle, stream.get(), screen, 0));
    if (!mime_type) throw LibvirtError::last("virDomainScreenshot");
    Screenshot result{mime_type.get(), {}};
    std::array<char, 65'536> chunk{};
    for (;;) {
      const int count = virStreamRecv(stream.get(), chunk.data(), chunk.size());
      if (count < 0) {
        const LibvirtError error = LibvirtError::last("virStreamRecv");
        virStreamAbort(stream.get());
        throw error;
      }
      if (count == 0) break;
      if (result.bytes.size() + static_cast<std::size_t>(count) > most) {
        virStreamAbort(stream.get());
        throw InvalidArgument("the screen's picture is larger than " + std::to_string(most) + " bytes");
      }
      result.bytes.insert(result.bytes.end(), chunk.begin(), chunk.begin() + count);
    }
    if (virStreamFinish(stream.get()) < 0) throw LibvirtError::last("virStreamFinish");
    return result;
  });
}

}  // namespace node_compute
