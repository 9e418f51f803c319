// Devices of a domain that come, go and change while it exists: disks, interfaces, copies of disks.
#include "libvirt/domain.h"
#include "libvirt/error.h"

namespace node_compute {

namespace {
void check(int result, const char* doing) {
  if (result < 0) throw LibvirtError::last(doing);
}
}  // namespace

void Domain::attach_device(const std::string& xml, unsigned flags) {
  const Connection::Use use(*connection_);
  check(virDomainAttachDeviceFlags(handle_.get(), xml.c_str(), flags), "virDomainAttachDeviceFlags");
}

void Domain::detach_device_alias(const std::string& alias, unsigned flags) {
  const Connection::Use use(*connection_);
  check(virDomainDetachDeviceAlias(handle_.get(), alias.c_str(), flags), "virDomainDetachDeviceAlias");
}

void Domain::block_resize(const std::string& disk, std::uint64_t bytes) {
  const Connection::Use use(*connection_);
  check(virDomainBlockResize(handle_.get(), disk.c_str(), bytes, VIR_DOMAIN_BLOCK_RESIZE_BYTES),
        "virDomainBlockResize");
}

std::uint64_t Domain::block_capacity(const std::string& disk) {
  const Connection::Use use(*connection_);
  virDomainBlockInfo info{};
  check(virDomainGetBlockInfo(handle_.get(), disk.c_str(), &info, 0), "virDomainGetBlockInfo");
  return info.capacity;
}

void Domain::block_copy(const std::string& disk, const std::string& xml, unsigned flags) {
  const Connection::Use use(*connection_);
  check(virDomainBlockCopy(handle_.get(), disk.c_str(), xml.c_str(), nullptr, 0, flags),
        "virDomainBlockCopy");
}

void Domain::block_job_abort(const std::string& disk, unsigned flags) {
  const Connection::Use use(*connection_);
  check(virDomainBlockJobAbort(handle_.get(), disk.c_str(), flags), "virDomainBlockJobAbort");
}

void Domain::set_block_threshold(const std::string& disk, std::uint64_t bytes) {
  const Connection::Use use(*connection_);
  check(virDomainSetBlockThreshold(handle_.get(), disk.c_str(), bytes, 0), "virDomainSetBlockThreshold");
}

std::optional<BlockJobInfo> Domain::block_job_info(const std::string& disk) {
  const Connection::Use use(*connection_);
  virDomainBlockJobInfo info{};
  const int found = virDomainGetBlockJobInfo(handle_.get(), disk.c_str(), &info, 0);
  check(found, "virDomainGetBlockJobInfo");
  if (found == 0) return std::nullopt;
  return BlockJobInfo{info.type, info.cur, info.end};
}

}  // namespace node_compute
