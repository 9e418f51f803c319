// The memory of a guest kept on disk by libvirt, and what ends a job such as that.
#pragma once

#include "libvirt/domain.h"

namespace node_compute {

// Each blocks, and throws LibvirtError or Closed.

/// virDomainManagedSave: for as long as the memory takes to be written; abort_job() of another thread ends
/// it, and the guest goes on.
void managed_save(Domain& domain);
/// virDomainManagedSaveRemove. False where there was none.
bool managed_save_remove(Domain& domain);
/// virDomainAbortJob. False where there was no job.
bool abort_job(Domain& domain);
/// virDomainInjectNMI.
void inject_nmi(Domain& domain);

}  // namespace node_compute
