// The two operations that change what an instance claims here: another flavor, another host.
import type { Flavor } from '../driver/model.js';
import { checkFlavorHoldsImage, diskClaimGb } from './launch-request.js';
import type { NodeContext } from './node-context.js';
import { operate } from './operation.js';
import { placed } from './placed.js';
import { forget } from './removal.js';
import type { OperationOptions } from './types.js';

/** On the same host. Old and new flavor are claimed together until the driver is done, as Nova does. */
export async function resizeInstance(
  context: NodeContext,
  uuid: string,
  flavor: Flavor,
  options: OperationOptions,
): Promise<void> {
  const { driver, tracker } = context;
  await operate(context, uuid, { task: 'resize', options }, async (known, { signal }) => {
    const { instance } = known;
    checkFlavorHoldsImage(uuid, flavor, instance.image);
    const diskGb = diskClaimGb({ flavor, image: instance.image });
    const both = `${uuid} (resize)`;
    const extra = tracker.claim(both, flavor, { diskGb, properties: instance.image.properties });
    const resized = placed({ ...instance, flavor }, extra.placement);
    try {
      await driver.migrateDiskAndPowerOff(instance, flavor, { signal });
      try {
        await driver.finishMigration(resized, { signal });
      } catch (error) {
        await driver.finishRevertMigration(instance);
        throw error;
      }
      await driver.confirmMigration(resized, { signal });
      await known.journal.append({ event: 'resized', flavor, diskGb, placement: extra.placement });
      tracker.move(both, uuid);
    } finally {
      extra.release();
    }
    known.instance = resized;
    known.diskGb = diskGb;
  });
}

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
