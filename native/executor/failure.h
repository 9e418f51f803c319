// What work on the executor throws; native/addon/errors.cc gives each its JavaScript form.
#pragma once

#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

namespace node_compute {

/// A system call failed. `number` is errno, `path` what it was about ("" where nothing).
class SystemError : public std::runtime_error {
 public:
  SystemError(int number, const std::string& doing, std::string path = "")
      : std::runtime_error(doing + (path.empty() ? "" : " " + path) + ": " +
                           std::generic_category().message(number)),
        number(number),
        path(std::move(path)) {}

  int number;
  std::string path;
};

/// The caller passed something that can never work.
class InvalidArgument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

/// The caller cancelled before or while the work ran.
class Cancelled : public std::runtime_error {
 public:
  Cancelled() : std::runtime_error("cancelled") {}
};

/// The object was closed before the call.
class Closed : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A lane holds as many waiting jobs as it may.
class QueueFull : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace node_compute
