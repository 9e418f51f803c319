// What a domain definition takes from its host: the options, the machine, and the files of the instance.
import type { Instance } from '../driver/model.js';
import { packageVersion } from '../version.js';
import type { DiskInfo, InstanceDisks } from './instance-disks.js';
import type { InstanceFiles } from './instance-files.js';
import type { LibvirtDriverOptions } from './options.js';
import type { Architecture, DiskCache, DomainHost } from './xml/host.js';

export interface DefinitionHost {
  readonly options: LibvirtDriverOptions;
  readonly embedded: boolean;
  readonly virtType: 'kvm' | 'qemu';
  readonly architecture: string;
  readonly diskCache: DiskCache;
  readonly vhostNet: boolean | undefined;
  /** Of the instance's image. */
  readonly basePath: string;
}

/** Without `disks`, and for those that an older version made: overlays, that of the root disk over a raw base. */
export function domainHost(
  host: DefinitionHost,
  instance: Instance,
  files: InstanceFiles,
  disks: InstanceDisks = {},
): DomainHost {
  const { options, embedded, virtType, architecture, diskCache, vhostNet, basePath } = host;
  const { emulator, machine, cpuMode, cpuModel, vncListen = '127.0.0.1', security } = options;
  const diskFormat = disks.disk?.format ?? 'qcow2';
  const usual = { path: basePath, format: 'raw' } as const;
  const base = disks.disk?.base ?? (diskFormat === 'qcow2' ? usual : undefined);
  return {
    virtType,
    architecture: architecture as Architecture,
    emulator,
    machine,
    pciePorts: options.pciePorts,
    cpuMode,
    cpuModel,
    cpuTune: embedded ? (security?.cgroups ?? false) : true,
    pinning: instance.placement,
    vncListen: vncListen === '' ? undefined : vncListen,
    vhostNet,
    maxQueues: options.maxQueues,
    vifFilter: options.vifFilter,
    diskCache,
    packageVersion: packageVersion(),
    diskPath: files.disk(),
    diskFormat,
    backingPath: base?.path,
    backingFormat: base?.format,
    ephemeralPath: files.disk('disk.local'),
    ephemeralFormat: disks['disk.local']?.format,
    ephemeralBackingPath: disks['disk.local']?.base?.path,
    swapPath: files.disk('disk.swap'),
    swapBackingPath: disks['disk.swap']?.base?.path,
    ...(disks['disk.rescue'] && rescueHost(files, disks['disk.rescue'])),
    configDrivePath:
      instance.configDrive &&
      (disks['disk.rescue']?.configDrive ? files.rescueConfigDrive : files.configDrive),
    consoleLogPath: files.consoleLog,
    nvramPath: files.nvram,
  };
}

function rescueHost(
  files: InstanceFiles,
  { format, base, device, bus, order }: DiskInfo,
): Partial<DomainHost> {
  return {
    rescuePath: files.disk('disk.rescue'),
    rescueFormat: format,
    rescueDevice: device,
    rescueBus: bus,
    rescueOrder: order,
    rescueBackingPath: base?.path,
    rescueBackingFormat: base?.format,
  };
}
