// The journal of one instance: a line before each effect, so that a later process knows what this one was doing.
import { join } from 'node:path';
import * as v from 'valibot';
import type { SpawnStep } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { Flavor, ImageMeta, Instance, Vif } from '../driver/model.js';
import type { InstancePlacement } from '../driver/placement.js';
import { integer } from '../driver/schema.js';
import type { SnapshotTarget } from '../driver/snapshot.js';
import { snapshotTargetSchema } from '../driver/snapshot-schema.js';
import type { AttachedVolume, VolumeConnection } from '../driver/volume.js';
import { volumeConnectionSchema } from '../driver/volume-schema.js';
import {
  afterChange,
  type Change,
  type Changeable,
  type ChangeInDoubt,
  changeSchema,
  haltedAfter,
  type Shelved,
} from './change.js';
import {
  flavorSchema,
  instanceSchema,
  placementSchema,
  vifSchema,
  vifsSchema,
  volumesSchema,
} from './instance-schema.js';
import type { NodeFiles } from './node-files.js';
import { currentSize, haltedBy, type PendingResize, pendingResizeSchema } from './pending-resize.js';
import { placed } from './placed.js';

/*
 * It stands beside the instance's directory, `<instances_path>/journal/<uuid>`, not in it: written before the first effect
 * and removed after the last, it is there for as long as anything else is. In the directory it would go with the
 * directory's files, and a process killed in between would leave a disk that nobody can explain any more.
 *
 * Lines are not fsynced, save those of a resize: what write(2) has taken outlives kill -9. After a loss of power the last seconds may be missing;
 * an instance launched in them is rolled back at the next start, as its disk is not on stable storage either.
 */

/** What an instance is in the middle of when a process dies. */
export type JournaledTask = 'start' | 'reboot' | 'suspend';

/** What was being attached or detached when a process died; with `replaces` it was being copied from there. */
export type DeviceInDoubt =
  | { readonly kind: 'interface'; readonly vif: Vif }
  | {
      readonly kind: 'volume';
      readonly connection: VolumeConnection;
      readonly replaces?: VolumeConnection;
    };

export type JournalLine =
  | { readonly event: 'launch'; readonly instance: Instance; readonly diskGb: number }
  | { readonly event: 'step'; readonly step: SpawnStep }
  | { readonly event: 'launched' }
  | { readonly event: 'task'; readonly task: JournaledTask }
  | { readonly event: 'done' }
  | { readonly event: 'device'; readonly device: DeviceInDoubt }
  /** An image is being made there. */
  | { readonly event: 'snapshot'; readonly target: SnapshotTarget }
  | { readonly event: 'snapshot-over' }
  | {
      readonly event: 'devices';
      readonly vifs: readonly Vif[];
      readonly volumes: readonly AttachedVolume[];
    }
  /** It was shut down or suspended, or shut itself down: a boot of the host is no reason to start it. */
  | { readonly event: 'halted' }
  | { readonly event: 'change'; readonly change: Change }
  | { readonly event: 'switched' | 'changed' }
  /** It has come so far; `resized` ends it. */
  | { readonly event: 'resize'; readonly resize: PendingResize }
  | {
      readonly event: 'resized';
      readonly flavor: Flavor;
      readonly diskGb: number;
      readonly placement?: InstancePlacement | undefined;
    }
  | { readonly event: 'terminate' };

const diskGb = integer(0);

const deviceSchema: v.GenericSchema<unknown, DeviceInDoubt> = v.variant('kind', [
  v.object({ kind: v.literal('interface'), vif: vifSchema }),
  v.object({
    kind: v.literal('volume'),
    connection: volumeConnectionSchema,
    replaces: v.exactOptional(volumeConnectionSchema),
  }),
]);

const lineSchema: v.GenericSchema<unknown, JournalLine> = v.variant('event', [
  v.object({ event: v.literal('launch'), instance: instanceSchema, diskGb }),
  v.object({ event: v.literal('step'), step: v.picklist(['image', 'definition', 'network', 'start']) }),
  v.object({ event: v.literal('launched') }),
  v.object({ event: v.literal('task'), task: v.picklist(['start', 'reboot', 'suspend']) }),
  v.object({ event: v.literal('done') }),
  v.object({ event: v.literal('device'), device: deviceSchema }),
  v.object({ event: v.literal('snapshot'), target: snapshotTargetSchema }),
  v.object({ event: v.literal('snapshot-over') }),
  v.object({ event: v.literal('devices'), vifs: vifsSchema, volumes: volumesSchema }),
  v.object({ event: v.literal('halted') }),
  v.object({ event: v.literal('change'), change: changeSchema }),
  v.object({ event: v.literal('switched') }),
  v.object({ event: v.literal('changed') }),
  v.object({ event: v.literal('resize'), resize: pendingResizeSchema }),
  v.object({
    event: v.literal('resized'),
    flavor: flavorSchema,
    diskGb,
    placement: v.exactOptional(placementSchema),
  }),
  v.object({ event: v.literal('terminate') }),
]);

export type JournalPhase = 'launching' | 'launched' | 'terminating';

export type JournalState =
  /** Nothing had been done yet when the process died. */
  | { readonly kind: 'empty' }
  | { readonly kind: 'unreadable'; readonly reason: string }
  | {
      readonly kind: 'known';
      readonly instance: Instance;
      /** What was claimed. */
      readonly diskGb: number;
      readonly phase: JournalPhase;
      /** The last step that was begun. */
      readonly step: SpawnStep | undefined;
      readonly task: JournaledTask | undefined;
      readonly device: DeviceInDoubt | undefined;
      readonly rescueImage: ImageMeta | undefined;
      readonly shelved: Shelved | undefined;
      readonly inDoubt: ChangeInDoubt | undefined;
      readonly resize: PendingResize | undefined;
      /** Where the image of a snapshot was going. */
      readonly snapshot: SnapshotTarget | undefined;
      /** By the last that is known it does not run, and shall not. */
      readonly halted: boolean;
    };

/** Above this a journal is rewritten when its instance is adopted. */
const COMPACT_BYTES = 64 * 1024;

export class Journal {
  readonly #files: NodeFiles;
  readonly #path: string;
  /** By what was appended, and read: it does not run, and shall not. */
  halted = false;
  /** The same, once the change that is under way is over. */
  #haltedAfter: boolean | undefined;

  constructor(files: NodeFiles, uuid: string) {
    this.#files = files;
    this.#path = join(files.journalPath, uuid);
  }

  /** Rejects with `SYSTEM` (EEXIST) where the instance has one. */
  begin(instance: Instance, diskGb: number): Promise<void> {
    return this.#files.write(this.#path, encode({ event: 'launch', instance, diskGb }), 'create');
  }

  async append(line: Exclude<JournalLine, { event: 'launch' }>): Promise<void> {
    // Beside a resize there are changed disks on stable storage: what explains them must be there too.
    await this.#files.write(this.#path, encode(line), 'append', line.event === 'resize');
    if (line.event === 'halted') this.halted = true;
    if (line.event === 'task') this.halted = false;
    if (line.event === 'resize') this.halted = haltedBy(line.resize) ?? this.halted;
    if (line.event === 'change') this.#haltedAfter = haltedAfter(line.change);
    if (line.event === 'changed') this.halted = this.#haltedAfter ?? this.halted;
  }

  /** Idempotent; the last act of a launch undone and of a termination. */
  remove(): Promise<void> {
    return this.#files.remove(this.#path);
  }

  async read(): Promise<JournalState> {
    const text = await this.#files.read(this.#path);
    const state = text === undefined ? ({ kind: 'empty' } as const) : parseJournal(text);
    this.halted = state.kind === 'known' && state.halted;
    return state;
  }

  /** Keeps one line of state where reboots have made it long. */
  async compact(known: Changeable, halted: boolean, resize?: PendingResize): Promise<void> {
    const { instance, diskGb, rescueImage, shelved } = known;
    const text = (await this.#files.read(this.#path)) ?? '';
    const changes: Change[] = [
      ...(rescueImage ? [{ kind: 'rescue', image: rescueImage, runs: true } as const] : []),
      ...(shelved ? [{ kind: 'shelve', image: shelved.image, create: false, runs: false } as const] : []),
      ...(shelved?.offloaded ? [{ kind: 'offload' } as const] : []),
    ];
    const whole = [
      encode({ event: 'launch', instance, diskGb }),
      encode({ event: 'launched' }),
      ...changes.flatMap((change) => [encode({ event: 'change', change }), encode({ event: 'changed' })]),
      ...(resize ? [encode({ event: 'resize', resize })] : []),
      ...(halted ? [encode({ event: 'halted' })] : []),
    ].join('');
    if (text.length - whole.length > COMPACT_BYTES) await this.#files.write(this.#path, whole, 'replace');
  }
}

function encode(line: JournalLine): string {
  return `${JSON.stringify({ at: new Date().toISOString(), ...line })}\n`;
}

/** A line that is cut off at the end was never relied upon: its effect comes after it. */
export function parseJournal(text: string): JournalState {
  const lines = text.split('\n').slice(0, -1);
  if (lines.length === 0)
    return text.trim() === '' || text.startsWith('{') ? { kind: 'empty' } : unreadable('no line');
  const first = parseLine(lines[0] ?? '');
  if (first?.event !== 'launch') return unreadable('the first line does not tell of a launch');
  let { instance, diskGb } = first;
  let phase: JournalPhase = 'launching';
  let step: SpawnStep | undefined;
  let task: JournaledTask | undefined;
  let device: DeviceInDoubt | undefined;
  let rescueImage: ImageMeta | undefined;
  let shelved: Shelved | undefined;
  let inDoubt: ChangeInDoubt | undefined;
  let resize: PendingResize | undefined;
  let snapshot: SnapshotTarget | undefined;
  let halted = false;
  for (const [index, text] of lines.slice(1).entries()) {
    const line = parseLine(text);
    if (!line) return unreadable(`line ${index + 2} is not one of ours`);
    switch (line.event) {
      case 'launch':
        return unreadable('it tells of two launches');
      case 'step':
        step = line.step;
        break;
      case 'launched':
        phase = 'launched';
        break;
      case 'task':
        task = line.task;
        halted = false;
        break;
      case 'done':
        task = undefined;
        device = undefined;
        inDoubt = undefined;
        break;
      case 'change':
        inDoubt = { change: line.change, switched: false };
        break;
      case 'switched':
        inDoubt &&= { ...inDoubt, switched: true };
        break;
      case 'changed':
        if (inDoubt) {
          const { change } = inDoubt;
          halted = haltedAfter(change) ?? halted;
          const before = { instance, diskGb, rescueImage, shelved };
          ({ instance, diskGb, rescueImage, shelved } = afterChange(before, change));
        }
        inDoubt = undefined;
        break;
      case 'device':
        device = line.device;
        break;
      case 'snapshot':
        snapshot = line.target;
        break;
      case 'snapshot-over':
        snapshot = undefined;
        break;
      case 'devices':
        instance = { ...instance, vifs: line.vifs, volumes: line.volumes };
        device = undefined;
        break;
      case 'halted':
        halted = true;
        break;
      case 'resize':
        resize = line.resize;
        halted = haltedBy(resize) ?? halted;
        instance = placed({ ...instance, flavor: currentSize(resize).flavor }, currentSize(resize).placement);
        diskGb = currentSize(resize).diskGb;
        break;
      case 'resized':
        resize = undefined;
        instance = placed({ ...instance, flavor: line.flavor }, line.placement);
        diskGb = line.diskGb;
        break;
      case 'terminate':
        phase = 'terminating';
        break;
      default:
        throw new ComputeError('INTERNAL', `journal event ${JSON.stringify(line satisfies never)}`);
    }
  }
  return {
    kind: 'known',
    instance,
    diskGb,
    phase,
    step,
    task,
    device,
    rescueImage,
    shelved,
    inDoubt,
    resize,
    snapshot,
    halted,
  };
}

function parseLine(text: string): JournalLine | undefined {
  try {
    return v.parse(lineSchema, JSON.parse(text));
  } catch {
    return undefined;
  }
}

function unreadable(reason: string): JournalState {
  return { kind: 'unreadable', reason };
}
