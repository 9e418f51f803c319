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

[[noreturn]] inline void refuse(const char* rule, const std::string& message) {
  throw ImageError(rule, message);
}

/// For what is looked at once in an image: the message is made whether it is needed or not.
inline void require(bool condition, const char* rule, const std::string& message) {
  if (!condition) refuse(rule, message);
}

}  // namespace node_compute
