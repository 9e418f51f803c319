// Which disks an instance has, on which bus and under which name.
import type { AttachedVolume } from '../../../driver/volume.js';
import type { DomainHost } from '../host.js';
import { isX86 } from '../host.js';
import type { Platform } from '../platform.js';
import type { Guest } from '../vocabulary/guest.js';
import type { DiskBus } from '../vocabulary/image-words.js';
import { inconsistent, unsupportedTerm } from '../vocabulary/rule.js';

export interface DiskPlace {
  readonly device: 'disk' | 'cdrom';
  readonly path: string;
  readonly format: 'qcow2' | 'raw';
  /** The base below it. */
  readonly backing?: { readonly path: string; readonly format: 'qcow2' | 'raw' } | undefined;
  readonly bus: DiskBus;
  /** `vda`, `sda`, `hda` ... */
  readonly target: string;
  /** The disk that it boots from, where that is not the first one. */
  readonly bootOrder?: 1;
}

const PREFIX: Readonly<Record<DiskBus, string>> = {
  virtio: 'vd',
  scsi: 'sd',
  sata: 'sd',
  usb: 'sd',
  ide: 'hd',
};

/**
 * Rescue disk and root first, then ephemeral, swap and the config drive, as Nova numbers them; a rescue disk that comes
 * last takes no name of a volume. Throws ComputeError.
 */
export function diskLayout(
  guest: Guest,
  platform: Platform,
  host: DomainHost,
  volumes: readonly AttachedVolume[] = [],
): readonly DiskPlace[] {
  const diskBus = checkedBus('hw_disk_bus', guest.diskBus ?? 'virtio', platform, 'disk');
  const usualCdromBus = guest.cdromBus ?? defaultCdromBus(platform);
  const cdromBus = checkedBus('hw_cdrom_bus', usualCdromBus, platform, 'cdrom');
  const used = new Map<string, number>();
  const place = (device: DiskPlace['device'], path: string, format: DiskPlace['format']): DiskPlace => {
    const bus = device === 'cdrom' ? cdromBus : diskBus;
    const index = used.get(PREFIX[bus]) ?? 0;
    used.set(PREFIX[bus], index + 1);
    return { device, path, format, bus, target: `${PREFIX[bus]}${String.fromCharCode(97 + index)}` };
  };
  const over = (path: string | undefined, format: DiskPlace['format'] = 'raw'): Pick<DiskPlace, 'backing'> =>
    path === undefined ? {} : { backing: { path, format } };
  const { rescuePath, rescueFormat = host.diskFormat, rescueDevice = 'disk', rescueOrder = 'first' } = host;
  const rescueBacking = over(host.rescueBackingPath, host.rescueBackingFormat);
  const places: DiskPlace[] = [];
  if (rescuePath !== undefined && rescueOrder === 'first') {
    places.push({ ...place(rescueDevice, rescuePath, rescueFormat), ...rescueBacking });
  }
  const root = place(guest.rootIsCdrom ? 'cdrom' : 'disk', host.diskPath, host.diskFormat);
  places.push({ ...root, ...over(host.backingPath, host.backingFormat) });
  if (guest.ephemeralGb > 0) {
    if (host.ephemeralPath === undefined) throw noFile('flavor.ephemeralGb', guest.ephemeralGb);
    const disk = place('disk', host.ephemeralPath, host.ephemeralFormat ?? host.diskFormat);
    places.push({ ...disk, ...over(host.ephemeralBackingPath) });
  }
  if (guest.swapMb > 0) {
    if (host.swapPath === undefined) throw noFile('flavor.swapMb', guest.swapMb);
    const disk = place('disk', host.swapPath, host.diskFormat);
    places.push({ ...disk, ...over(host.swapBackingPath) });
  }
  if (host.configDrivePath !== undefined) places.push(place('cdrom', host.configDrivePath, 'raw'));
  else if (guest.configDriveMandatory) {
    throw unsupportedTerm('img_config_drive', 'mandatory', 'there is no config drive for this instance');
  }
  if (rescuePath !== undefined && rescueOrder === 'last') {
    const usual = rescueDevice === 'cdrom' ? cdromBus : diskBus;
    const bus = checkedBus('hw_rescue_bus', host.rescueBus ?? usual, platform, rescueDevice);
    const target = freeTarget(bus, [...places.map((one) => one.target), ...volumes.map((one) => one.device)]);
    const at = { device: rescueDevice, path: rescuePath, format: rescueFormat, bus, target };
    places.push({ ...at, ...rescueBacking, bootOrder: 1 });
  }
  return places;
}

function freeTarget(bus: DiskBus, taken: readonly string[]): string {
  const free = targetNames(PREFIX[bus]).find((name) => !taken.includes(name));
  if (free !== undefined) return free;
  throw unsupportedTerm('hw_rescue_bus', bus, 'every disk name on that bus is taken');
}

/** Beside a rescue disk the names of the disks behind it move on: a volume whose name is taken then has the next free one. */
export function placeVolumes(
  volumes: readonly AttachedVolume[],
  disks: readonly DiskPlace[],
): readonly AttachedVolume[] {
  const taken = new Set(disks.map(({ target }) => target));
  const own = new Set(volumes.map(({ device }) => device));
  return volumes.map((volume) => {
    if (!taken.has(volume.device)) return volume;
    const names = targetNames(volume.device.slice(0, 2));
    const device = names.find((name) => !taken.has(name) && !own.has(name)) ?? volume.device;
    taken.add(device);
    return { ...volume, device };
  });
}

/** vda to vdz, vdaa to vdzz. */
export function targetNames(prefix: string): string[] {
  const letters = [...'abcdefghijklmnopqrstuvwxyz'];
  return ['', ...letters].flatMap((first) => letters.map((last) => `${prefix}${first}${last}`));
}

function noFile(key: string, value: number): Error {
  return unsupportedTerm(key, String(value), 'there is no such disk for this instance');
}

function defaultCdromBus({ architecture, q35 }: Platform): DiskBus {
  if (!isX86(architecture)) return 'scsi';
  return q35 ? 'sata' : 'ide';
}

function checkedBus(
  key: string,
  bus: DiskBus,
  { architecture, machine, q35 }: Platform,
  device: DiskPlace['device'],
): DiskBus {
  if (bus === 'ide' && (q35 || !isX86(architecture))) {
    throw inconsistent(
      key,
      bus,
      `the machine type ${machine} has no IDE; take sata or scsi, or hw_machine_type=pc`,
    );
  }
  if (device === 'cdrom' && bus === 'virtio') {
    throw inconsistent(key, bus, 'virtio has no CD-ROM; take scsi, sata, ide or usb');
  }
  if (architecture === 's390x' && (bus === 'sata' || bus === 'usb')) {
    throw unsupportedTerm(key, bus, 'not on s390x');
  }
  return bus;
}
