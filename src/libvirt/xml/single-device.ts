// One device of an instance as a document of its own, for attaching; and the names that its disks take.
import { ComputeError } from '../../driver/errors.js';
import type { Instance, Vif } from '../../driver/model.js';
import type { AttachedVolume } from '../../driver/volume.js';
import { diskLayout, targetNames } from './devices/disk-layout.js';
import { interfaceElement } from './devices/interface.js';
import { volumeElement } from './devices/volume.js';
import { serialize } from './element.js';
import type { DomainHost } from './host.js';
import { resolvePlatform } from './platform.js';
import { resolveGuest } from './vocabulary/guest.js';

/** Throws what {@link import('./domain.js').domainXml} throws. Pure, as all here. */
export function volumeXml(instance: Instance, host: DomainHost, volume: AttachedVolume): string {
  return serialize(volumeElement(volume, resolveGuest(instance.flavor, instance.image), host));
}

export function interfaceXml(instance: Instance, host: DomainHost, vif: Vif): string {
  const guest = resolveGuest(instance.flavor, instance.image);
  return serialize(interfaceElement(vif, guest, resolvePlatform(guest, host)));
}

/** Names of the disks that are no volumes: root, ephemeral, swap, config drive. */
export function ownTargets(instance: Instance, host: DomainHost): ReadonlySet<string> {
  const guest = resolveGuest(instance.flavor, instance.image);
  return new Set(diskLayout(guest, resolvePlatform(guest, host), host).map(({ target }) => target));
}

/**
 * The name for one more volume: the wanted one, or the first that is free. On SCSI where the instance's own disks are,
 * else virtio: neither IDE nor SATA can be plugged into a guest that runs.
 * Throws `DEVICE_IN_USE`, and `UNSUPPORTED` for a SCSI name where the instance has no SCSI.
 */
export function chooseTarget(
  instance: Instance,
  taken: ReadonlySet<string>,
  wanted: string | undefined,
  operation: string,
): string {
  const context = { operation, instanceUuid: instance.uuid };
  const scsi = resolveGuest(instance.flavor, instance.image).diskBus === 'scsi';
  if (wanted === undefined) {
    const free = targetNames(scsi ? 'sd' : 'vd').find((name) => !taken.has(name));
    if (free !== undefined) return free;
    throw new ComputeError(
      'DEVICE_IN_USE',
      `${operation}: every disk name is taken; detach a volume first`,
      context,
    );
  }
  if (wanted.startsWith('sd') && !scsi) {
    throw new ComputeError(
      'UNSUPPORTED',
      `${operation}: ${wanted} needs SCSI, which the instance does not have; take a name such as vdb, or an image with hw_disk_bus=scsi`,
      { ...context, details: { device: wanted } },
    );
  }
  if (!taken.has(wanted)) return wanted;
  throw new ComputeError(
    'DEVICE_IN_USE',
    `${operation}: ${wanted} is another disk of instance ${instance.uuid}; leave the name out and a free one is taken`,
    { ...context, details: { device: wanted } },
  );
}
