// Options of the LibvirtDriver: how to reach libvirt, and what every domain is given.
import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { ComputeError } from '../driver/errors.js';
import type { ImageCacheOptions, ImageLogger } from '../image/types.js';
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
  /** `auto` takes kvm where /dev/kvm opens and the CPU has virtualisation, else qemu (emulation). Default `auto`. */
  readonly virtType?: 'auto' | 'kvm' | 'qemu' | undefined;
  /** Absolute path of the QEMU binary. Default: libvirt's choice. */
  readonly emulator?: string | undefined;
  /** Machine type for images that name none. */
  readonly machine?: string | undefined;
  readonly cpuMode?: CpuMode | undefined;
  readonly cpuModel?: string | undefined;
  /** Address VNC listens on; '' for no VNC and no graphics adapter. Default `127.0.0.1`. */
  readonly vncListen?: string | undefined;
  /** Default: `none` where the file system of instancesPath takes O_DIRECT, else `writeback`. */
  readonly diskCache?: DiskCache | undefined;
  readonly security?: SecurityOptions | undefined;
  /** Milliseconds between start and the running event. Default 60000. */
  readonly startTimeoutMs?: number | undefined;
  /** Passed to the image cache. */
  readonly images?: Omit<ImageCacheOptions, 'instancesPath' | 'logger'> | undefined;
  readonly logger?: ImageLogger | undefined;
}

export const DEFAULT_ROOT = '/var/lib/node-compute/libvirt';
/** QEMU's sockets lie below the root, and the kernel takes 107 bytes for a socket's path. */
export const MAX_ROOT_BYTES = 60;

const absolutePath = z
  .string()
  .refine((path) => isAbsolute(path) && !path.includes('\0'), 'must be an absolute path');

const schema = z.strictObject({
  instancesPath: absolutePath,
  uri: z.string().min(1).max(1024).optional(),
  root: absolutePath
    .refine((path) => Buffer.byteLength(path) <= MAX_ROOT_BYTES, `must not exceed ${MAX_ROOT_BYTES} bytes`)
    // The root becomes part of a URI.
    .refine((path) => /^[A-Za-z0-9/._-]+$/.test(path), 'must hold only letters, digits and / . _ -')
    .optional(),
  virtType: z.enum(['auto', 'kvm', 'qemu']).optional(),
  emulator: absolutePath.optional(),
  machine: z.string().min(1).max(64).optional(),
  cpuMode: z.enum(CPU_MODES as [CpuMode, ...CpuMode[]]).optional(),
  cpuModel: z.string().min(1).max(64).optional(),
  vncListen: z.string().max(64).optional(),
  diskCache: z.enum(DISK_CACHES as [DiskCache, ...DiskCache[]]).optional(),
  security: z
    .strictObject({
      user: z
        .string()
        .regex(/^[a-z_][a-z0-9_-]*$/)
        .optional(),
      seccomp: z.boolean().optional(),
      mountNamespace: z.boolean().optional(),
      cgroups: z.boolean().optional(),
    })
    .optional(),
  startTimeoutMs: z.number().int().positive().optional(),
  images: z.record(z.string(), z.unknown()).optional(),
  logger: z.custom<ImageLogger>((value) => typeof value === 'object' && value !== null).optional(),
});

/** Throws `INVALID_ARGUMENT` that lists each problem with its path. */
export function parseLibvirtOptions(options: unknown): LibvirtDriverOptions {
  const result = schema.safeParse(options);
  if (result.success) return result.data as LibvirtDriverOptions;
  const problems = result.error.issues.map(
    (issue) => `${issue.path.join('.') || 'options'}: ${issue.message}`,
  );
  throw new ComputeError('INVALID_ARGUMENT', `options of the libvirt driver: ${problems.join('; ')}`, {
    operation: 'loadDriver',
    details: { problems },
  });
}
