// One operation at a time for each instance, in order of arrival; any number across instances.
import type { Deadline } from '../driver/deadline.js';
import { type Release, Turnstile } from './turns.js';

export class InstanceLocks {
  readonly #gates = new Map<string, Turnstile>();

  /** Instances with an operation under way or waiting. */
  get size(): number {
    return this.#gates.size;
  }

  /** Rejects with the deadline's reason when that ends first. */
  async acquire(uuid: string, deadline: Deadline): Promise<Release> {
    const gate = this.#gates.get(uuid) ?? new Turnstile(1);
    this.#gates.set(uuid, gate);
    try {
      const release = await gate.enter(deadline);
      return () => {
        release();
        this.#forget(uuid, gate);
      };
    } catch (error) {
      this.#forget(uuid, gate);
      throw error;
    }
  }

  #forget(uuid: string, gate: Turnstile): void {
    if (gate.size === 0 && this.#gates.get(uuid) === gate) this.#gates.delete(uuid);
  }
}
