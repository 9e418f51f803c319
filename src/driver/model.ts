// The nouns every driver shares: instance, flavor, image, network, power state, and what a host reports.

import type { ConfigDriveFormat } from './config-drive.js';
import type { GuestEvent } from './guest-events.js';
import type { ImageCacheEvent } from './image-cache.js';
import type { InstancePlacement } from './placement.js';
import type { AttachedVolume } from './volume.js';

/** Nova's power states (nova/compute/power_state.py) by name; {@link POWER_STATE_CODES} has the numbers on the wire. */
export type PowerState = 'nostate' | 'running' | 'paused' | 'shutdown' | 'crashed' | 'suspended';

export const POWER_STATE_CODES: Readonly<Record<PowerState, number>> = {
  nostate: 0,
  running: 1,
  paused: 3,
  shutdown: 4,
  crashed: 6,
  suspended: 7,
};

/** What an instance is given: Nova's flavor. */
export interface Flavor {
  readonly name: string;
  readonly vcpus: number;
  readonly memoryMb: number;
  /** Size of the root disk in GiB; 0 takes the virtual size of the image. */
  readonly rootGb: number;
  readonly ephemeralGb: number;
  readonly swapMb: number;
  /** `hw:*`, `quota:*` and the rest of Nova's vocabulary; keys meant for a scheduler are ignored. */
  readonly extraSpecs: Readonly<Record<string, string>>;
}

/** Formats an image can declare (Glance's `disk_format`). */
export type DiskFormat =
  | 'raw'
  | 'qcow2'
  | 'vmdk'
  | 'vhd'
  | 'vhdx'
  | 'vdi'
  | 'iso'
  | 'ploop'
  | 'ami'
  | 'ari'
  | 'aki';

export interface ImageChecksum {
  readonly algorithm: 'md5' | 'sha256' | 'sha512';
  /** Lower-case hexadecimal. */
  readonly value: string;
}

/** Where the bytes of an image come from. */
export type ImageSource =
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'http'; readonly url: string }
  /** `imageId` is Glance's; default: the id of the image. */
  | { readonly type: 'glance'; readonly imageId?: string };

/** Nova's ImageMeta: what is declared of an image before one byte of it is read. */
export interface ImageMeta {
  /** Any string up to 255 characters; the base file is named `sha1(id)`. */
  readonly id: string;
  readonly name?: string;
  readonly diskFormat: DiskFormat;
  readonly source: ImageSource;
  readonly sizeBytes?: number;
  readonly minDiskGb?: number;
  readonly minRamMb?: number;
  readonly checksum?: ImageChecksum;
  /** `hw_*`, `os_*`, `img_*` properties. */
  readonly properties: Readonly<Record<string, string>>;
}

/** One network interface of an instance, its names decided (Nova's VIF). */
export interface Vif {
  /** UUID of the port. */
  readonly id: string;
  readonly mac: string;
  /** Linux bridge the tap is enslaved to; made where missing. */
  readonly bridge: string;
  /** Name of the tap on the host, at most 15 bytes. */
  readonly tap: string;
  readonly mtu?: number;
  /** The bridge is one of Open vSwitch's, which must stand; the port is known there by its id. Default a bridge of Linux. */
  readonly virtualPort?: 'openvswitch';
  /** Interface of the host that joins the bridge to a physical network. */
  readonly physicalInterface?: string;
  /** Which VLAN of it, 1 to 4094: its sub-interface, made where missing, is the bridge's port. Default untagged. */
  readonly vlan?: number;
  /** Join that interface although the host has IP addresses on it, by which it is then not reached. Default false. */
  readonly evenWithAddresses?: boolean;
  /** libvirt's network filter against spoofing, `clean-traffic` ...; needs the capability `vifFilter`. Default the driver's. */
  readonly filter?: string;
  /** What the guest is told on its config drive; without any it is told to ask by DHCP. */
  readonly addresses?: readonly VifAddress[];
  /** IP addresses of name servers, told there too. */
  readonly dnsServers?: readonly string[];
}

/** A fixed IP address, version 4 or 6. */
export interface VifAddress {
  readonly address: string;
  readonly prefixLength: number;
  /** The default route. */
  readonly gateway?: string;
}

/** An instance as the drivers see it. Plain data: it is stored as JSON beside the instance's disk. */
export interface Instance {
  readonly uuid: string;
  /** The number behind `instance-%08x`. */
  readonly id: number;
  /** Name of the domain on the host: `instance-%08x` of {@link Instance.id}. */
  readonly name: string;
  /** The name a person gave it. */
  readonly displayName: string;
  readonly flavor: Flavor;
  readonly image: ImageMeta;
  readonly vifs: readonly Vif[];
  /** Attached beside its own disks, in the order of their attachment. */
  readonly volumes?: readonly AttachedVolume[];
  /** ISO 8601, UTC. */
  readonly createdAt: string;
  readonly projectId?: string;
  readonly userId?: string;
  /** It has a config drive of that layout; what is on it comes with the spawn and is stored nowhere else. */
  readonly configDrive?: ConfigDriveFormat;
  /** The host CPUs and NUMA cells that its claim was given, where its flavor or image asks for such. */
  readonly placement?: InstancePlacement;
}

/** Nova's InstanceInfo with what `virsh dominfo` adds. */
export interface InstanceInfo {
  readonly uuid: string;
  readonly name: string;
  readonly powerState: PowerState;
  /** The hypervisor's id of the running domain; -1 when it is not running. */
  readonly domainId: number;
  readonly maxMemoryKib: number;
  readonly memoryKib: number;
  readonly vcpus: number;
  readonly cpuTimeNs: bigint;
}

/** One entry of {@link ComputeDriver.listInstances}. */
export interface InstanceSummary {
  readonly uuid: string;
  readonly name: string;
  readonly powerState: PowerState;
}

/** What the scheduler needs to know of a node: the driver's get_available_resource. */
export interface AvailableResource {
  readonly hypervisorType: string;
  readonly hypervisorVersion: number;
  readonly hypervisorHostname: string;
  readonly architecture: string;
  readonly cpuModel: string;
  readonly vcpus: number;
  readonly cpuTopology: { readonly sockets: number; readonly cores: number; readonly threads: number };
  readonly numaCells: number;
  readonly memoryMb: number;
  /** As Nova counts it: total - MemFree - Buffers - Cached. */
  readonly memoryMbUsed: number;
  readonly localGb: number;
  readonly localGbUsed: number;
  /** Free disk less what sparse disks may still grow to, in GiB. */
  readonly diskAvailableLeastGb: number;
  /** vCPUs of running instances. */
  readonly vcpusUsed: number;
  readonly runningInstances: number;
}

/** A change of state, as it happened. `sequence` rises by one per event of a driver; a gap means the reader was too slow. */
export type DriverEvent =
  | GuestEvent
  | ResyncedEvent
  | {
      readonly type: 'lifecycle';
      readonly sequence: number;
      readonly timestamp: number;
      readonly uuid: string;
      readonly name: string;
      readonly event: LifecycleEvent;
      /** Why, in the hypervisor's words: `booted`, `shutdown`, `destroyed`, `crashed`, `failed` ... */
      readonly detail: string;
      /** It happened while no events came, and was found by a comparison after that. */
      readonly resync?: true;
    }
  | {
      readonly type: 'reboot';
      readonly sequence: number;
      readonly timestamp: number;
      readonly uuid: string;
      readonly name: string;
    }
  | {
      /** A device has left a running guest, or the guest refused to let it go. Not told of one that goes with its domain. */
      readonly type: 'device-removed' | 'device-removal-failed';
      readonly sequence: number;
      readonly timestamp: number;
      readonly uuid: string;
      readonly name: string;
      /** The hypervisor's name of the device: `virtio-disk1`, `net0`. */
      readonly alias: string;
    }
  | {
      /** A copy of a disk under way: it holds all (`ready`), or it has ended. */
      readonly type: 'block-job';
      readonly sequence: number;
      readonly timestamp: number;
      readonly uuid: string;
      readonly name: string;
      /** Name of the disk in the definition: `vdb`. */
      readonly disk: string;
      readonly status: BlockJobStatus;
    }
  | {
      /** The memory of a suspended instance could not be loaded and was discarded: it boots anew from its disk. */
      readonly type: 'saved-state-lost';
      readonly sequence: number;
      readonly timestamp: number;
      readonly uuid: string;
      readonly name: string;
      readonly detail: string;
    }
  | {
      /** The connection to the hypervisor was lost (`down`) or is back (`up`). */
      readonly type: 'connection';
      readonly sequence: number;
      readonly timestamp: number;
      readonly state: 'up' | 'down';
      readonly detail: string;
    }
  | {
      /** What the driver's image cache did. */
      readonly type: 'image-cache';
      readonly sequence: number;
      readonly timestamp: number;
      readonly event: ImageCacheEvent;
    }
  | {
      /** The reader fell behind and `count` events were dropped. */
      readonly type: 'gap';
      readonly sequence: number;
      readonly timestamp: number;
      readonly count: number;
    };

/** One instance that is not what the events so far had said. */
export interface ResyncChange {
  readonly uuid: string;
  readonly name: string;
  /** Undefined: it was not known. */
  readonly before: PowerState | undefined;
  /** Undefined: the hypervisor does not know it any more. */
  readonly after: PowerState | undefined;
}

/**
 * Events may have been missed, and the states of all instances were compared since: whoever has followed the events knows
 * the truth again. What changed was also told by `lifecycle` events with `resync: true` right before.
 */
export interface ResyncedEvent {
  readonly type: 'resynced';
  readonly sequence: number;
  readonly timestamp: number;
  readonly changes: readonly ResyncChange[];
}

export type BlockJobStatus = 'completed' | 'failed' | 'canceled' | 'ready';

export type LifecycleEvent =
  | 'defined'
  | 'undefined'
  | 'started'
  | 'suspended'
  | 'resumed'
  | 'stopped'
  | 'shutdown'
  | 'pmsuspended'
  | 'crashed';

/** `instance-%08x`, Nova's default instance_name_template. */
export function instanceName(id: number): string {
  return `instance-${id.toString(16).padStart(8, '0')}`;
}
