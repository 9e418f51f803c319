// libvirt's reference-counted objects as owning handles.
#pragma once

#include <libvirt/libvirt.h>

#include <memory>

namespace node_compute {

struct FreeDomain {
  void operator()(virDomainPtr domain) const noexcept { virDomainFree(domain); }
};
using DomainHandle = std::unique_ptr<virDomain, FreeDomain>;

struct FreeStream {
  void operator()(virStreamPtr stream) const noexcept { virStreamFree(stream); }
};
using StreamHandle = std::unique_ptr<virStream, FreeStream>;

struct FreeNetworkFilter {
  void operator()(virNWFilterPtr filter) const noexcept { virNWFilterFree(filter); }
};
using NetworkFilterHandle = std::unique_ptr<virNWFilter, FreeNetworkFilter>;

struct FreeString {
  void operator()(char* text) const noexcept { free(text); }
};
/// A string that libvirt allocated and the caller must free.
using StringHandle = std::unique_ptr<char, FreeString>;

}  // namespace node_compute
