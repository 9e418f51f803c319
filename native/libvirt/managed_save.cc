#include "libvirt/managed_save.h"

#include <libvirt/virterror.h>

#include "libvirt/error.h"

namespace node_compute {

void managed_save(Domain& domain) {
  domain.with([](virDomainPtr handle) {
    if (virDomainManagedSave(handle, 0) < 0) throw LibvirtError::last("virDomainManagedSave");
  });
}

bool managed_save_remove(Domain& domain) {
  return domain.with([](virDomainPtr handle) {
    const int saved = virDomainHasManagedSaveImage(handle, 0);
    if (saved < 0) throw LibvirtError::last("virDomainHasManagedSaveImage");
    if (saved == 0) return false;
    if (virDomainManagedSaveRemove(handle, 0) < 0) throw LibvirtError::last("virDomainManagedSaveRemove");
    return true;
  });
}

bool abort_job(Domain& domain) {
  return domain.with([](virDomainPtr handle) {
    if (virDomainAbortJob(handle) >= 0) return true;
    const LibvirtError error = LibvirtError::last("virDomainAbortJob");
    if (error.code != VIR_ERR_OPERATION_INVALID) throw error;
    return false;
  });
}

void inject_nmi(Domain& domain) {
  domain.with([](virDomainPtr handle) {
    if (virDomainInjectNMI(handle, 0) < 0) throw LibvirtError::last("virDomainInjectNMI");
  });
}

}  // namespace node_compute
