// What a node holds in memory of one instance, from the first moment of its launch to the last of its termination.
import type { Deadline } from '../driver/deadline.js';
import type { ImageMeta, Instance, PowerState } from '../driver/model.js';
import type { ChangeInDoubt, Shelved } from './change.js';
import type { DeviceInDoubt, Journal } from './journal.js';
import type { InstanceView } from './types.js';
import { vmState } from './vm-state.js';

/** `broken`: undoing or removing it failed; it keeps its claim and its journal until terminate succeeds. */
export type InstancePhase = 'launching' | 'ready' | 'terminating' | 'broken';

export class KnownInstance {
  /** Its id is 0 and its name empty for the first moments of a launch. */
  instance: Instance;
  readonly journal: Journal;
  phase: InstancePhase;
  diskGb: number;
  /** What the node is doing with it. */
  task: string | undefined;
  /** The device that is just being attached or detached. */
  arriving: DeviceInDoubt | undefined;
  /** What it is rescued with. */
  rescueImage: ImageMeta | undefined;
  shelved: Shelved | undefined;
  /** A change that is under way, or failed and could not be undone yet. */
  inDoubt: ChangeInDoubt | undefined;
  /** Of the operations under way and in line, terminate's apart: it cuts them short. */
  readonly deadlines: Set<Deadline> = new Set();

  constructor(instance: Instance, journal: Journal, phase: InstancePhase, diskGb: number) {
    this.instance = instance;
    this.journal = journal;
    this.phase = phase;
    this.diskGb = diskGb;
  }

  view(powerState: PowerState): InstanceView {
    const { uuid, name, displayName, flavor, image, vifs, volumes = [], createdAt } = this.instance;
    return {
      uuid,
      name,
      displayName,
      powerState,
      vmState: vmState(this, powerState),
      task: this.task,
      flavor,
      imageId: image.id,
      macs: vifs.map(({ mac }) => mac),
      volumes,
      createdAt,
    };
  }
}
