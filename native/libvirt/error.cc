#include "libvirt/error.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

namespace node_compute {

namespace {
std::string text(const char* value) { return value == nullptr ? "" : value; }
void ignore(void*, virErrorPtr) {}
}  // namespace

LibvirtError LibvirtError::last(const char* doing) {
  const virErrorPtr error = virGetLastError();
  if (error == nullptr) {
    LibvirtError unknown(std::string(doing) + " failed, libvirt gave no reason");
    unknown.code = VIR_ERR_INTERNAL_ERROR;
    unknown.domain = VIR_FROM_NONE;
    unknown.level = VIR_ERR_ERROR;
    unknown.int1 = unknown.int2 = 0;
    return unknown;
  }
  LibvirtError result(text(error->message));
  result.code = error->code;
  result.domain = error->domain;
  result.level = error->level;
  result.str1 = text(error->str1);
  result.str2 = text(error->str2);
  result.str3 = text(error->str3);
  result.int1 = error->int1;
  result.int2 = error->int2;
  virResetLastError();
  return result;
}

void silence_libvirt_errors() { virSetErrorFunc(nullptr, &ignore); }

}  // namespace node_compute
