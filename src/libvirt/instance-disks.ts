// What the disks of an instance are: Nova's disk.info, written when they are made, so that nobody ever probes them.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { integer } from '../driver/schema.js';
import type { DiskName } from '../image/types.js';
import type { DiskBus } from './xml/vocabulary/image-words.js';

export const DISK_NAMES: readonly DiskName[] = ['disk', 'disk.local', 'disk.swap', 'disk.rescue'];

export interface DiskInfo {
  readonly format: 'qcow2' | 'raw';
  readonly virtualSizeBytes: number;
  /** What an overlay stands on. */
  readonly base?: { readonly path: string; readonly format: 'raw' | 'qcow2' } | undefined;
  /** Of a rescue disk that is shown as a CD-ROM. Default: a hard disk. */
  readonly device?: 'cdrom' | undefined;
  /** Of a rescue disk. Default: that of the instance's own disks or CD-ROMs. */
  readonly bus?: DiskBus | undefined;
  /** Of a rescue disk that comes behind the instance's own ones. Default: before them. */
  readonly order?: 'last' | undefined;
  /** Of a rescue disk: the guest has `disk.config.rescue` in place of its own config drive. */
  readonly configDrive?: true | undefined;
}

/** By their names in the instance's directory. */
export type InstanceDisks = { readonly [name in DiskName]?: DiskInfo | undefined };

const format = v.picklist(['qcow2', 'raw']);
const diskSchema = v.object({
  format,
  virtualSizeBytes: integer(0),
  base: v.exactOptional(v.object({ path: v.string(), format })),
  device: v.exactOptional(v.literal('cdrom')),
  bus: v.exactOptional(v.picklist(['virtio', 'scsi', 'sata', 'ide', 'usb'])),
  order: v.exactOptional(v.literal('last')),
  configDrive: v.exactOptional(v.literal(true)),
});
const disksSchema = v.object({
  disk: diskSchema,
  'disk.local': v.exactOptional(diskSchema),
  'disk.swap': v.exactOptional(diskSchema),
  'disk.rescue': v.exactOptional(diskSchema),
});
/** As it was when the root disk was an instance's only one, always over a raw base. */
const rootOnlySchema = v.pipe(
  v.object({ format, virtualSizeBytes: integer(0) }),
  v.transform((disk): InstanceDisks => ({ disk })),
);
const schema: v.GenericSchema<unknown, InstanceDisks> = v.union([rootOnlySchema, disksSchema]);

export function formatDisks(disks: InstanceDisks): string {
  return `${JSON.stringify(disks)}\n`;
}

/** Throws `INVALID_STATE` for what is none; `path` is told. */
export function parseDisks(text: string, path: string): InstanceDisks {
  try {
    return v.parse(schema, JSON.parse(text));
  } catch (cause) {
    throw new ComputeError(
      'INVALID_STATE',
      `${path} cannot be understood: restore it, or terminate the instance`,
      { details: { path }, cause },
    );
  }
}
