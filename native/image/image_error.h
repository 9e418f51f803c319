// An image that is refused, and the rule that it broke.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace node_compute {

/// `rule` is stable and short (`backing-file`, `format-mismatch` ...); the message is for people.
class ImageError : public std::runtime_error {
 public:
  ImageError(std::string rule, const std::string& message)
      : std::runtime_error(message), rule(std::move(rule)) {}

  std::string rule;
};

}  // namespace node_compute
