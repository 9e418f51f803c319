// network-vif-plugged: whoever waits for a port hears that Neutron has plugged it in.
import { Deferred, until } from '../deferred.js';

export type PlugState = 'plugged' | 'failed';

/** Of one instance, from its making on: what was told before anybody waits is not lost. */
export class PlugWatch implements Disposable {
  readonly #states = new Map<string, PlugState>();
  readonly #end: () => void;
  #change = new Deferred<void>();
  isOver = false;

  constructor(end: () => void) {
    this.#end = end;
  }

  tell(portId: string, state: PlugState): void {
    this.#states.set(portId, state);
    this.#wake();
  }

  /** What was told of taps that are no more. */
  forget(): void {
    this.#states.clear();
  }

  state(portId: string): PlugState | undefined {
    return this.#states.get(portId);
  }

  /** Resolves at the next word, or after so many milliseconds. Rejects with the signal's reason. */
  async changed(mostMs: number, signal: AbortSignal): Promise<void> {
    const { promise } = this.#change;
    const late = new Deferred<void>();
    const timer = setTimeout(() => late.resolve(), mostMs);
    try {
      await until(Promise.race([promise, late.promise]), signal);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Who still waits is woken. */
  [Symbol.dispose](): void {
    this.isOver = true;
    this.#end();
    this.#wake();
  }

  #wake(): void {
    this.#change.resolve();
    this.#change = new Deferred();
  }
}

export class PlugEvents {
  readonly #watches = new Map<string, Set<PlugWatch>>();

  watch(instanceUuid: string): PlugWatch {
    const watches = this.#watches.get(instanceUuid) ?? new Set();
    const watch = new PlugWatch(() => {
      watches.delete(watch);
      if (watches.size === 0) this.#watches.delete(instanceUuid);
    });
    this.#watches.set(instanceUuid, watches.add(watch));
    return watch;
  }

  /** False: nobody waits. */
  tell(instanceUuid: string, portId: string, state: PlugState): boolean {
    const watches = this.#watches.get(instanceUuid);
    for (const watch of watches ?? []) watch.tell(portId, state);
    return watches !== undefined;
  }
}
