// What Placement is told of a report: inventories, traits, and what each instance has.
import type { FullReport, InstanceReport } from '../report.js';
import type { ResourceUsage } from '../types.js';
import type { Inventory, Resources } from './placement-api.js';

/** The classes that are ours to set; others on the provider are left as they are. */
export const OWN_CLASSES: readonly string[] = ['VCPU', 'PCPU', 'MEMORY_MB', 'DISK_GB'];

/** Set by Nova, too, on the provider of a disabled service: its scheduler then passes it over. */
export const DISABLED_TRAIT = 'COMPUTE_STATUS_DISABLED';

/** A class of which the host has nothing is left out, as Placement demands. */
export function inventoriesOf({ node }: Pick<FullReport, 'node'>): Record<string, Inventory> {
  const classes: readonly (readonly [string, ResourceUsage | undefined])[] = [
    ['VCPU', node.vcpus],
    ['PCPU', node.pcpus],
    ['MEMORY_MB', node.memoryMb],
    ['DISK_GB', node.diskGb],
  ];
  return Object.fromEntries(
    classes.flatMap(([name, usage]) => (usage && usage.total >= 1 ? [[name, inventoryOf(usage)]] : [])),
  );
}

function inventoryOf({ total, reserved, allocationRatio }: ResourceUsage): Inventory {
  const whole = Math.floor(total);
  return {
    total: whole,
    reserved: Math.min(whole, Math.ceil(reserved)),
    min_unit: 1,
    max_unit: whole,
    step_size: 1,
    allocation_ratio: allocationRatio,
  };
}

/** Sorted, without repetition. */
export function traitsOf(
  { inventory, service }: Pick<FullReport, 'inventory' | 'service'>,
  more: readonly string[],
): string[] {
  const disabled = service.enabled ? [] : [DISABLED_TRAIT];
  return [...new Set([...(inventory?.traits ?? []), ...more, ...disabled])].sort();
}

/** Empty for one without a claim. */
export function resourcesOf({ vcpus, pcpus, memoryMb, diskGb }: InstanceReport): Resources {
  const all = { VCPU: vcpus, PCPU: pcpus, MEMORY_MB: memoryMb, DISK_GB: diskGb };
  return Object.fromEntries(Object.entries(all).filter(([, amount]) => amount > 0));
}

export function sameResources(a: Resources, b: Resources): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
