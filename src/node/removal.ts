// Taking an instance off the host: its domain and files first, its journal last, its claim when all of it is gone.
import type { Deadline } from '../driver/deadline.js';
import type { KnownInstance } from './known-instance.js';
import type { NodeContext } from './node-context.js';

/** The driver removes what it made; the directory goes whatever else is in it. Idempotent. */
export async function removeFromHost(
  { driver, files }: Pick<NodeContext, 'driver' | 'files'>,
  { instance }: KnownInstance,
  deadline?: Deadline,
): Promise<void> {
  await driver.destroy(instance, deadline ? { signal: deadline.signal } : {});
  await files.remove(files.instanceDirectory(instance.uuid));
}

/** Its resources are free and its uuid can be launched again. */
export function forget({ instances, tracker }: NodeContext, known: KnownInstance): void {
  const { uuid } = known.instance;
  tracker.release(uuid);
  instances.delete(uuid);
}
