// What shall go wrong in a FakeDriver: a failure, a delay or a hang at a named point, the Nth time it is reached.
import type { SpawnStep } from '../driver/compute-driver.js';

/** Calls of the driver that can be made to go wrong as a whole. */
export type FakeCallName =
  | 'initHost'
  | 'spawn'
  | 'destroy'
  | 'powerOff'
  | 'powerOn'
  | 'reboot'
  | 'pause'
  | 'unpause'
  | 'suspend'
  | 'resume'
  | 'resumeStateOnHostBoot'
  | 'triggerCrashDump'
  | 'getDiagnostics'
  | 'getInfo'
  | 'instanceExists'
  | 'listInstances'
  | 'getAvailableResource'
  | 'getConsoleOutput'
  | 'cacheImage'
  | 'manageImageCache'
  | 'getImageCacheMetrics'
  | 'getInstancesUsage'
  | 'getInventory'
  | 'attachVolume'
  | 'detachVolume'
  | 'extendVolume'
  | 'swapVolume'
  | 'attachInterface'
  | 'detachInterface';

/** `<call>` is its beginning; `spawn.<step>` is before the step's effect, `spawn.<step>.done` after it, `spawn.undo` before anything is undone. */
export type FaultPoint = FakeCallName | `spawn.${SpawnStep}` | `spawn.${SpawnStep}.done` | 'spawn.undo';

export type FaultAction =
  /** Rejects with this. Anything but a ComputeError arrives as `HYPERVISOR`. */
  | { readonly fail: Error }
  | { readonly delayMs: number }
  /** `abortable` waits for the call's signal, deadline or close; `deaf` hears nothing until {@link Faults.release}: a lost process. */
  | { readonly hang: 'abortable' | 'deaf' };

export type Fault = FaultAction & {
  readonly at: FaultPoint;
  /** The first time that is hit, counted from when the fault was added, from 1. Default 1. */
  readonly nth?: number;
  /** How often it is hit. Default 1. */
  readonly times?: number;
  /** Only calls for this instance count. */
  readonly uuid?: string;
};

interface Armed {
  readonly fault: Fault;
  reached: number;
}

/** The faults of one FakeDriver; may be changed at any time. */
export class Faults {
  #armed: Armed[] = [];
  readonly #deaf = new Set<() => void>();
  readonly #waiting = new Set<{ readonly at: FaultPoint; readonly resolve: () => void }>();
  #hanging: FaultPoint[] = [];

  constructor(faults: readonly Fault[] = []) {
    for (const fault of faults) this.add(fault);
  }

  add(fault: Fault): void {
    this.#armed.push({ fault, reached: 0 });
  }

  /** Forgets all faults; calls that hang go on hanging. */
  clear(): void {
    this.#armed = [];
  }

  /** Lets every `deaf` call go on. */
  release(): void {
    for (const wake of this.#deaf) wake();
    this.#deaf.clear();
  }

  /** Resolves when a call hangs or has begun its delay at that point. */
  reached(at: FaultPoint): Promise<void> {
    if (this.#hanging.includes(at)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.add({ at, resolve }));
  }

  /** For the driver: the action that is due at this point, the first that was added. */
  take(at: FaultPoint, uuid: string | undefined): FaultAction | undefined {
    let due: FaultAction | undefined;
    for (const armed of this.#armed) {
      const { fault } = armed;
      if (fault.at !== at || (fault.uuid !== undefined && fault.uuid !== uuid)) continue;
      armed.reached += 1;
      const nth = fault.nth ?? 1;
      if (armed.reached >= nth && armed.reached < nth + (fault.times ?? 1)) due ??= fault;
    }
    return due;
  }

  /** For the driver: a call waits at this point until `leave` is called. */
  enter(at: FaultPoint): { readonly leave: () => void } {
    this.#hanging.push(at);
    for (const waiter of this.#waiting) {
      if (waiter.at !== at) continue;
      this.#waiting.delete(waiter);
      waiter.resolve();
    }
    return {
      leave: () => {
        const index = this.#hanging.indexOf(at);
        if (index >= 0) this.#hanging.splice(index, 1);
      },
    };
  }

  /** For the driver: resolves at {@link release}. */
  deaf(): Promise<void> {
    return new Promise((resolve) => this.#deaf.add(resolve));
  }
}
