// The limits of the disk in an image, whatever its format.
#pragma once

#include <cstdint>
#include <string>

#include "image/image_error.h"

namespace node_compute {

inline void check_virtual_size(std::uint64_t bytes, std::uint64_t most) {
  require(bytes > 0, "empty", "the disk in the image has no bytes");
  require(bytes <= most, "too-large",
          "the disk in the image has " + std::to_string(bytes) + " bytes, at most " + std::to_string(most) +
              " are accepted");
}

}  // namespace node_compute
