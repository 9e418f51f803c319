// How far a guest may write into the file of a disk before it is told.
import { checkThreshold } from '../driver/disk-threshold.js';
import { ComputeError, LibvirtError } from '../driver/errors.js';
import type { CallContext, Hypervisor } from './hypervisor.js';

/** VIR_ERR_INVALID_ARG: no disk of that name. */
const INVALID_ARG = 8;

/** Rejects with `INVALID_STATE`, `DEVICE_NOT_FOUND`, `INVALID_ARGUMENT`. */
export async function setDiskThreshold(
  hypervisor: Hypervisor,
  uuid: string,
  device: string,
  bytes: number,
  context: CallContext,
): Promise<void> {
  checkThreshold(bytes, uuid);
  const domain = await hypervisor.domain(uuid, context);
  try {
    await hypervisor.onDomain(domain, context, (one, id) => one.setBlockThreshold(device, bytes, id));
  } catch (error) {
    if (!(error instanceof LibvirtError) || error.libvirt.libvirtCode !== INVALID_ARG) throw error;
    throw new ComputeError('DEVICE_NOT_FOUND', `instance ${uuid} has no disk ${JSON.stringify(device)}`, {
      operation: context.operation,
      instanceUuid: uuid,
      cause: error,
    });
  }
}
