// Another host for an instance that runs.
import type { NodeContext } from './node-context.js';
import { operate } from './operation.js';
import { forget } from './removal.js';
import type { OperationOptions } from './types.js';

/** The driver takes away what stood here; record and claim go when it has. */
export async function migrateInstance(
  context: NodeContext,
  uuid: string,
  destination: string,
  options: OperationOptions,
): Promise<void> {
  await operate(context, uuid, { task: 'migrate', options }, async (known, { signal }) => {
    await context.driver.liveMigration(known.instance, destination, { signal });
    await known.journal.remove();
    forget(context, known);
  });
}
