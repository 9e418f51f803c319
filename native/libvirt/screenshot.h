// What the guest's screen shows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "libvirt/domain.h"

namespace node_compute {

struct Screenshot {
  std::string mime_type;
  std::vector<std::uint8_t> bytes;
};

/// virDomainScreenshot. Blocks. Throws LibvirtError, Closed, or InvalidArgument where the picture has more
/// than `most` bytes.
Screenshot screenshot(Domain& domain, unsigned screen, std::size_t most);

}  // namespace node_compute
