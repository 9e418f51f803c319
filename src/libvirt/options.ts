// Options of the LibvirtDriver: how to reach libvirt, and what every domain is given.
import { isAbsolute } from 'node:path';
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { check, closedObject, dictionary, integer } from '../driver/schema.js';
import type { ImageCacheOptions, ImageLogger } from '../image/types.js';
import { FILTER_NAME } from '../network/names.js';
import { CPU_MODES, type CpuMode, DISK_CACHES, type DiskCache } from './xml/host.js';

/** Which defences QEMU runs with; those of an embedded connection only, a daemon has its own qemu.conf. */
export interface SecurityOptions {
  /** User QEMU runs as. Default `libvirt-qemu` or `qemu`, whichever this host has. */
  readonly user?: string | undefined;
  /** QEMU's seccomp sandbox. Default true. */
  readonly seccomp?: boolean | undefined;
  /** A private mount namespace with a /dev of its own for each QEMU. Default true. */
  readonly mountNamespace?: boolean | undefined;
  /** A cgroup for each QEMU: device access and CPU shares. Needs systemd-machined or a writable cgroup tree. Default false. */
  readonly cgroups?: boolean | undefined;
}

export interface LibvirtDriverOptions {
  /** Absolute. Where instances and the image cache live. */
  readonly instancesPath: string;
  /** A libvirt URI such as `qemu:///system`. Default: QEMU's driver embedded in this process, under {@link root}. */
  readonly uri?: string | undefined;
  /** Embedded: absolute directory of the driver's own state, at most 60 bytes. One process at a time, which holds it until it ends; one root per process. Default `/var/lib/node-compute/libvirt`. */
  readonly root?: string | undefined;
  /**
   * Seconds between two questions whether libvirtd is still there, not of an embedded connection; 0: none. One that has not
   * answered for four times as long is given up, as if it had ended. Default 5.
   */
  readonly keepAliveSeconds?: number | undefined;
  /** `auto` takes kvm where /dev/kvm opens and the CPU has virtualisation, else qemu (emulation). Default `auto`. */
  readonly virtType?: 'auto' | 'kvm' | 'qemu' | undefined;
  /** Absolute path of the QEMU binary. Default: libvirt's choice. */
  readonly emulator?: string | undefined;
  /** Machine type for images that name none. */
  readonly machine?: string | undefined;
  /** PCI Express ports that q35 and virt machines have: Nova's num_pcie_ports. Default 0: libvirt's choice, one more than needed. */
  readonly pciePorts?: number | undefined;
  readonly cpuMode?: CpuMode | undefined;
  readonly cpuModel?: string | undefined;
  /** Address VNC listens on; '' for no VNC and no graphics adapter. Default `127.0.0.1`. */
  readonly vncListen?: string | undefined;
  /**
   * libvirt's network filter of every interface that names none, such as `clean-traffic`: guests then send under their own
   * addresses only. A libvirtd alone has filters: it needs {@link uri}. Default none, as Nova's `noop` firewall.
   */
  readonly vifFilter?: string | undefined;
  /** Most queues of an interface of an image with `hw_vif_multiqueue_enabled`: Nova's max_queues. Default 256, the kernel's most. */
  readonly maxQueues?: number | undefined;
  /** Default: `none` where the file system of instancesPath takes O_DIRECT, else `writeback`. */
  readonly diskCache?: DiskCache | undefined;
  readonly security?: SecurityOptions | undefined;
  /** Above this a console log begins anew, and its end is kept beside it as `console.log.0`. Default 2 MiB, virtlogd's. */
  readonly consoleLogMaxBytes?: number | undefined;
  /** Milliseconds between start and the running event. Default 60000. */
  readonly startTimeoutMs?: number | undefined;
  /** Milliseconds that a guest is given to let go of a device, each time it is asked. Default 20000, Nova's. */
  readonly detachTimeoutMs?: number | undefined;
  /** How often a guest is asked to let go of a device. Default 8, Nova's. */
  readonly detachAttempts?: number | undefined;
  /** Milliseconds that a running guest is given to give memory and vCPUs back in liveResize. Default 30000. */
  readonly liveResizeTimeoutMs?: number | undefined;
  /** Passed to the image cache. */
  readonly images?: Omit<ImageCacheOptions, 'instancesPath' | 'logger'> | undefined;
  readonly logger?: ImageLogger | undefined;
}

export const DEFAULT_ROOT = '/var/lib/node-compute/libvirt';
/** QEMU's sockets lie below the root, and the kernel takes 107 bytes for a socket's path. */
export const MAX_ROOT_BYTES = 60;

const absolutePath = v.pipe(
  v.string(),
  v.check((path) => isAbsolute(path) && !path.includes('\0'), 'must be an absolute path'),
);
const name = v.pipe(v.string(), v.minLength(1), v.maxLength(64));

const optionsSchema = closedObject({
  instancesPath: absolutePath,
  uri: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(1024))),
  root: v.optional(
    v.pipe(
      absolutePath,
      v.check((path) => Buffer.byteLength(path) <= MAX_ROOT_BYTES, `must not exceed ${MAX_ROOT_BYTES} bytes`),
      // The root becomes part of a URI.
      v.regex(/^[A-Za-z0-9/._-]+$/, 'must hold only letters, digits and / . _ -'),
    ),
  ),
  keepAliveSeconds: v.optional(integer(0, 3600)),
  virtType: v.optional(v.picklist(['auto', 'kvm', 'qemu'])),
  emulator: v.optional(absolutePath),
  machine: v.optional(name),
  pciePorts: v.optional(integer(0, 28)),
  cpuMode: v.optional(v.picklist(CPU_MODES)),
  cpuModel: v.optional(name),
  vncListen: v.optional(v.pipe(v.string(), v.maxLength(64))),
  vifFilter: v.optional(v.pipe(v.string(), v.regex(FILTER_NAME, 'must be the name of a network filter'))),
  maxQueues: v.optional(integer(1, 256)),
  diskCache: v.optional(v.picklist(DISK_CACHES)),
  security: v.optional(
    closedObject({
      user: v.optional(v.pipe(v.string(), v.regex(/^[a-z_][a-z0-9_-]*$/, 'must be the name of a user'))),
      seccomp: v.optional(v.boolean()),
      mountNamespace: v.optional(v.boolean()),
      cgroups: v.optional(v.boolean()),
    }),
  ),
  consoleLogMaxBytes: v.optional(integer(64 * 1024)),
  startTimeoutMs: v.optional(integer(1)),
  detachTimeoutMs: v.optional(integer(1, 3_600_000)),
  detachAttempts: v.optional(integer(1, 1000)),
  liveResizeTimeoutMs: v.optional(integer(1, 3_600_000)),
  images: v.optional(dictionary(v.string(), v.unknown())),
  logger: v.optional(
    v.custom<ImageLogger>((value) => typeof value === 'object' && value !== null, 'must be a logger'),
  ),
});

const schema = v.pipe(
  optionsSchema,
  v.check(
    ({ uri, vifFilter }) => vifFilter === undefined || uri !== undefined,
    'vifFilter needs a uri: QEMU embedded in this process has no network filters',
  ),
);

/** Throws `INVALID_ARGUMENT` that lists each problem with its path. */
export function parseLibvirtOptions(options: unknown): LibvirtDriverOptions {
  const checked = check(schema, options);
  if (!checked.problems) return checked.value as LibvirtDriverOptions;
  const problems = checked.problems.map(({ path, message }) => `${path.join('.') || 'options'}: ${message}`);
  throw new ComputeError('INVALID_ARGUMENT', `options of the libvirt driver: ${problems.join('; ')}`, {
    operation: 'loadDriver',
    details: { problems },
  });
}
