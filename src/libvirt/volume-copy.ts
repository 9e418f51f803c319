// The copy of a running guest's disk to another place, and its change over to that place.
import { BLOCK_COPY, copyUntilReady, endCopy, watchCopy } from './block-copy.js';
import type { DeviceChange } from './device-change.js';
import type { Hypervisor } from './hypervisor.js';

/** The new volume is there. */
const COPY_FLAGS = BLOCK_COPY.REUSE_EXT | BLOCK_COPY.TRANSIENT_JOB;
/** VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT. */
const PIVOT = 2;

/** Resolves when the guest writes to the new place, the volume of that key. On failure and abort it goes on with the old one. */
export async function copyVolume(
  hypervisor: Hypervisor,
  change: DeviceChange,
  device: string,
  xml: string,
  key: string,
): Promise<void> {
  // One that a process before this one has left.
  await endVolumeCopy(change, device);
  using watch = watchCopy(hypervisor, change.instance.uuid, device);
  change.undo.add('end the copy', () => endVolumeCopy(change, device));
  await copyUntilReady(watch, change, device, { xml, flags: COPY_FLAGS });
  await pivot(change, device, key);
}

/** It happens or it does not: an abort that comes now is too late, and an answer that is lost is looked up. */
async function pivot(change: DeviceChange, device: string, key: string): Promise<void> {
  const { signal: _late, ...context } = change.context;
  try {
    await change.call((domain, id) => domain.blockJobAbort(device, PIVOT, id), context);
  } catch (error) {
    const { disks } = await change.live(change.undoContext());
    if (disks.find(({ target }) => target === device)?.key !== key) throw error;
  }
}

/** The guest goes on with the disk as it is. No copy under way, and no guest, are success. */
export async function endVolumeCopy(change: DeviceChange, device: string): Promise<void> {
  await endCopy(change, device, change.undoContext());
}
