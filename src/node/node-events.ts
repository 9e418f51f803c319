// The events of a node: those of its driver and its own, as one stream.
import { Broadcast } from '../driver/broadcast.js';
import type { ComputeDriver } from '../driver/compute-driver.js';
import { reasonOf } from './node-errors.js';
import type { Logger, NodeEvent } from './types.js';

export class NodeEvents {
  readonly #broadcast = new Broadcast<NodeEvent>({
    makeGap: (count, last) => ({
      type: 'gap',
      // Of the driver's events; one of the node's own carries none.
      sequence: 'sequence' in last ? last.sequence : 0,
      timestamp: Date.now(),
      count,
    }),
  });
  #pump: Promise<void> = Promise.resolve();

  /** Passes on the driver's events until the driver closes; a failure of the driver's stream is logged. */
  follow(driver: ComputeDriver, log: Logger): void {
    this.#pump = this.#follow(driver).catch((error: unknown) => {
      log.error('the events of the driver ended with an error', { error: reasonOf(error) });
    });
  }

  async #follow(driver: ComputeDriver): Promise<void> {
    for await (const event of driver.events()) this.publish(event);
  }

  publish(event: NodeEvent): void {
    this.#broadcast.publish(event);
  }

  subscribe(options: { readonly signal?: AbortSignal }): AsyncIterableIterator<NodeEvent> {
    return this.#broadcast.subscribe(options);
  }

  /** Call it when the driver is closed. */
  async close(): Promise<void> {
    await this.#pump;
    this.#broadcast.close();
  }
}
