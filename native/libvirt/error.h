// A libvirt error, whole, as the failing thread saw it.
#pragma once

#include <stdexcept>
#include <string>

namespace node_compute {

/// virError with owned strings. virGetLastError() is per thread: build this on the thread of the failing
/// call.
class LibvirtError : public std::runtime_error {
 public:
  /// The calling thread's last error; `doing` stands in for a message where libvirt left none.
  static LibvirtError last(const char* doing);

  int code;
  int domain;
  int level;
  // Not optional: libvirt's NULL and "" mean the same.
  std::string str1;
  std::string str2;
  std::string str3;
  int int1;
  int int2;

 private:
  explicit LibvirtError(const std::string& message) : std::runtime_error(message) {}
};

/// Stops libvirt from writing each error to stderr, for the whole process. Idempotent.
void silence_libvirt_errors();

}  // namespace node_compute
