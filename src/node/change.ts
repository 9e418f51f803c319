// Rescue, rebuild and shelving as the journal has them: what an instance is turned into, in more than one step.
import * as v from 'valibot';
import type { ConfigDriveFormat } from '../driver/config-drive.js';
import { ComputeError } from '../driver/errors.js';
import { diskGb, imageSchema, nameText } from '../driver/image-schema.js';
import type { ImageMeta, Instance } from '../driver/model.js';
import type { InstancePlacement } from '../driver/placement.js';
import type { SnapshotTarget } from '../driver/snapshot.js';
import { configDriveFormat, placementSchema } from './instance-schema.js';
import { placed } from './placed.js';

/** `runs`: it ran before. A rebuilt instance has what stands here. */
export type Change =
  | { readonly kind: 'rescue'; readonly image: ImageMeta; readonly runs: boolean }
  | { readonly kind: 'unrescue' }
  | {
      readonly kind: 'rebuild';
      readonly image: ImageMeta;
      readonly displayName: string;
      readonly configDrive?: ConfigDriveFormat;
      readonly diskGb: number;
      readonly runs: boolean;
    }
  /** `create`: the record of the image in Glance is made for it. */
  | {
      readonly kind: 'shelve';
      readonly image: ImageMeta;
      readonly create: boolean;
      readonly runs: boolean;
    }
  | { readonly kind: 'offload' }
  /** `placement`: of its new claim, where it had left the host. */
  | {
      readonly kind: 'unshelve';
      readonly diskGb: number;
      readonly placement?: InstancePlacement | undefined;
    };

/** An instance that was shelved: the image its disk was stored as, and whether it has left this host. */
export interface Shelved {
  readonly image: ImageMeta;
  readonly offloaded: boolean;
}

/** `switched`: the new disks of a rebuild are complete, and take the place of the old ones. */
export interface ChangeInDoubt {
  readonly change: Change;
  readonly switched: boolean;
}

export const changeSchema: v.GenericSchema<unknown, Change> = v.variant('kind', [
  v.object({ kind: v.literal('rescue'), image: imageSchema, runs: v.boolean() }),
  v.object({ kind: v.literal('unrescue') }),
  v.object({
    kind: v.literal('rebuild'),
    image: imageSchema,
    displayName: nameText,
    configDrive: v.exactOptional(configDriveFormat),
    diskGb,
    runs: v.boolean(),
  }),
  v.object({ kind: v.literal('shelve'), image: imageSchema, create: v.boolean(), runs: v.boolean() }),
  v.object({ kind: v.literal('offload') }),
  v.object({ kind: v.literal('unshelve'), diskGb, placement: v.exactOptional(placementSchema) }),
]);

/** Where the disk of a shelved instance goes; throws `INVALID_ARGUMENT` where nothing can be stored. */
export function shelf({ image, create }: Extract<Change, { kind: 'shelve' }>): SnapshotTarget {
  const { id, name, source } = image;
  if (source.type === 'file') return source;
  if (source.type === 'glance') {
    return { type: 'glance', imageId: source.imageId ?? id, create, ...(name !== undefined && { name }) };
  }
  throw new ComputeError(
    'INVALID_ARGUMENT',
    `shelve: nothing can be stored at ${source.type}; give a file or Glance`,
    {
      operation: 'shelve',
    },
  );
}

/** What a change changes of an instance that is known. */
export interface Changeable {
  readonly instance: Instance;
  readonly diskGb: number;
  /** What it is rescued with. */
  readonly rescueImage: ImageMeta | undefined;
  readonly shelved: Shelved | undefined;
}

export function afterChange(before: Changeable, change: Change): Changeable {
  switch (change.kind) {
    case 'rescue':
      return { ...before, rescueImage: change.image };
    case 'unrescue':
      return { ...before, rescueImage: undefined };
    case 'rebuild': {
      const { image, displayName, configDrive } = change;
      const instance = { ...before.instance, image, displayName, ...(configDrive && { configDrive }) };
      return { ...before, instance, diskGb: change.diskGb };
    }
    case 'shelve':
      return { ...before, shelved: { image: change.image, offloaded: false } };
    case 'offload':
      return { ...before, shelved: before.shelved && { ...before.shelved, offloaded: true } };
    case 'unshelve': {
      const { shelved, instance } = before;
      // Its disk stands on that image now, and it where its new claim says.
      const after = shelved?.offloaded
        ? placed({ ...instance, image: shelved.image }, change.placement)
        : instance;
      return { ...before, instance: after, diskGb: change.diskGb, shelved: undefined };
    }
  }
}

/** Whether it is meant to be stopped then; undefined where the change leaves that as it is. */
export function haltedAfter({ kind }: Change): boolean | undefined {
  if (kind === 'rebuild') return undefined;
  return kind === 'shelve' || kind === 'offload';
}
