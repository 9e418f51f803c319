// Guests that shut themselves down: noted in the journal, since a boot of the host is no reason to start those again.
import type { ComputeDriver } from '../driver/compute-driver.js';
import type { KnownInstance } from './known-instance.js';
import { reasonOf } from './node-errors.js';
import type { Logger } from './types.js';

/** Follows the driver's events until it closes. What an operation of the node does, that operation notes. */
export async function noteHalts(
  driver: ComputeDriver,
  instances: ReadonlyMap<string, KnownInstance>,
  log: Logger,
): Promise<void> {
  for await (const event of driver.events()) {
    if (event.type !== 'lifecycle' || event.event !== 'stopped' || event.detail !== 'shutdown') continue;
    const known = instances.get(event.uuid);
    if (known?.phase !== 'ready' || known.task !== undefined) continue;
    try {
      await known.journal.append({ event: 'halted' });
    } catch (error) {
      log.warn(`cannot note that ${event.uuid} has shut itself down: ${reasonOf(error)}`);
    }
  }
}
