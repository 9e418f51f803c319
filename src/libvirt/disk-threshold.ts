// How far a guest may write into the file of a disk before it is told.
import { checkThreshold } from '../driver/disk-threshold.js';
import { ComputeError } from '../driver/errors.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { wrongState } from './instance-call.js';
import { parseDevices } from './live-devices.js';
import { powerState } from './states.js';

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
  const info = await hypervisor.onDomain(domain, context, (one, id) => one.info(id));
  const state = powerState(info.state, info.saved);
  // libvirt 9.0.0 is given no name but that of a disk, and no domain but one that runs: it crashes on some.
  if (state !== 'running' && state !== 'paused') throw wrongState(context, state);
  const { disks } = parseDevices(await hypervisor.onDomain(domain, context, (one, id) => one.xml(0, id)));
  if (!disks.some(({ target }) => target === device)) {
    throw new ComputeError('DEVICE_NOT_FOUND', `instance ${uuid} has no disk ${JSON.stringify(device)}`, {
      operation: context.operation,
      instanceUuid: uuid,
    });
  }
  await hypervisor.onDomain(domain, context, (one, id) => one.setBlockThreshold(device, bytes, id));
}
