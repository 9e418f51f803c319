// What another flavor does to the disks of an instance: which grow, come, go; and which would shrink, and are refused.
import { ComputeError } from '../driver/errors.js';
import type { Flavor } from '../driver/model.js';
import type { DiskName } from '../image/types.js';
import type { InstanceDisks } from './instance-disks.js';

const GIB = 2 ** 30;
const MIB = 2 ** 20;

export interface DiskChange {
  readonly name: DiskName;
  /** `grow`: the same content on a larger disk; `make`: an empty one, in place of what was there; `drop`: none any more. */
  readonly how: 'grow' | 'make' | 'drop';
  readonly sizeBytes: number;
}

/**
 * As Nova: root and ephemeral disks grow, swap is made anew. Throws `FLAVOR_DISK_TOO_SMALL` for what would shrink. A root
 * disk of 0 GiB has the size of its image, which a larger flavor may fix.
 */
export function diskChanges(uuid: string, disks: InstanceDisks, old: Flavor, flavor: Flavor): DiskChange[] {
  const has = (name: DiskName): number => disks[name]?.virtualSizeBytes ?? 0;
  const root = flavor.rootGb === 0 && old.rootGb === 0 ? has('disk') : flavor.rootGb * GIB;
  const ephemeral = flavor.ephemeralGb * GIB;
  const swap = flavor.swapMb * MIB;
  refuseShrink(uuid, 'root', has('disk'), root);
  refuseShrink(uuid, 'ephemeral', has('disk.local'), ephemeral);
  const changes: DiskChange[] = [];
  if (root > has('disk')) changes.push({ name: 'disk', how: 'grow', sizeBytes: root });
  if (ephemeral > has('disk.local')) {
    const how = has('disk.local') === 0 ? 'make' : 'grow';
    changes.push({ name: 'disk.local', how, sizeBytes: ephemeral });
  }
  if (swap !== has('disk.swap')) {
    changes.push({ name: 'disk.swap', how: swap === 0 ? 'drop' : 'make', sizeBytes: swap });
  }
  return changes;
}

function refuseShrink(uuid: string, what: string, has: number, wanted: number): void {
  if (wanted >= has) return;
  throw new ComputeError(
    'FLAVOR_DISK_TOO_SMALL',
    `the ${what} disk of instance ${uuid} has ${has} bytes and cannot shrink to ${wanted}; choose a larger flavor`,
    { operation: 'resize', instanceUuid: uuid, details: { requiredBytes: has, flavorBytes: wanted } },
  );
}
