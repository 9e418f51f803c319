// What a node holds in memory of one instance, from the first moment of its launch to the last of its termination.
import type { Deadline } from '../driver/deadline.js';
import type { Instance, PowerState } from '../driver/model.js';
import type { DeviceInDoubt, Journal } from './journal.js';
import type { InstanceView } from './types.js';

/** `broken`: undoing or removing it failed; it keeps its claim and its journal until terminate succeeds. */
export type InstancePhase = 'launching' | 'ready' | 'terminating' | 'broken';

export class KnownInstance {
  /** Its id is 0 and its name empty for the first moments of a launch. */
  instance: Instance;
  readonly journal: Journal;
  phase: InstancePhase;
  diskGb: number;
  #task: { readonly name: string; readonly since: string } | undefined;
  /** The device that is just being attached or detached. */
  arriving: DeviceInDoubt | undefined;
  /** Of the operations under way and in line, terminate's apart: it cuts them short. */
  readonly deadlines: Set<Deadline> = new Set();

  constructor(instance: Instance, journal: Journal, phase: InstancePhase, diskGb: number) {
    this.instance = instance;
    this.journal = journal;
    this.phase = phase;
    this.diskGb = diskGb;
  }

  /** What the node is doing with it. */
  get task(): string | undefined {
    return this.#task?.name;
  }

  set task(name: string | undefined) {
    this.#task = name === undefined ? undefined : { name, since: new Date().toISOString() };
  }

  view(powerState: PowerState): InstanceView {
    const { uuid, name, displayName, flavor, image, vifs, volumes = [], createdAt } = this.instance;
    return {
      uuid,
      name,
      displayName,
      powerState,
      task: this.task,
      taskSince: this.#task?.since,
      flavor,
      imageId: image.id,
      macs: vifs.map(({ mac }) => mac),
      volumes,
      createdAt,
    };
  }
}
