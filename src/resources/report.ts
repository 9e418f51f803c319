// Reports of a node: whole, or as what changed since another; each follows from the two wholes, none from a history.
import type { NodeInventory } from '../driver/inventory.js';
import type { PowerState } from '../driver/model.js';
import type { InstanceUsage } from '../driver/usage.js';
import type { ServiceStatus } from './compute-service.js';
import type { NodeReport } from './types.js';
import type { UsageRates } from './usage-rates.js';

/** One instance: what it was promised, how it is, and what it uses where the driver tells (capability `usage`). */
export interface InstanceReport {
  readonly uuid: string;
  readonly name: string;
  readonly displayName: string;
  readonly projectId: string | undefined;
  readonly userId: string | undefined;
  readonly powerState: PowerState;
  /** What the node is doing with it just now. */
  readonly task: string | undefined;
  /** Its claim: shared vCPUs, host CPUs of its own, memory with overhead, disk. */
  readonly vcpus: number;
  readonly pcpus: number;
  readonly memoryMb: number;
  readonly diskGb: number;
  readonly usage: InstanceUsage | undefined;
  /** Between the last two samples. */
  readonly rates: UsageRates | undefined;
}

/** Everything. `sequence` rises by one with each report of a reporter. */
export interface FullReport {
  readonly type: 'full';
  readonly sequence: number;
  readonly timestampMs: number;
  /** Stable for an instances path. */
  readonly nodeUuid: string;
  readonly service: ServiceStatus;
  readonly node: NodeReport;
  readonly inventory: NodeInventory | undefined;
  readonly instances: readonly InstanceReport[];
}

/** What changed since the report `since`; a part that is missing is as it was. {@link applyDelta} makes it whole again. */
export interface DeltaReport {
  readonly type: 'delta';
  readonly sequence: number;
  readonly since: number;
  readonly timestampMs: number;
  readonly service?: ServiceStatus;
  readonly node?: NodeReport;
  readonly inventory?: NodeInventory;
  /** New, or changed in any part: each whole. */
  readonly instances: readonly InstanceReport[];
  /** uuids of those that are gone. */
  readonly removed: readonly string[];
}

export type ResourceReport = FullReport | DeltaReport;

export function reportDelta(before: FullReport, after: FullReport): DeltaReport {
  const old = new Map(before.instances.map((instance) => [instance.uuid, instance]));
  const changed: InstanceReport[] = [];
  for (const instance of after.instances) {
    const was = old.get(instance.uuid);
    old.delete(instance.uuid);
    if (was === undefined || !sameFields(was, instance)) changed.push(instance);
  }
  const { inventory } = after;
  return {
    type: 'delta',
    sequence: after.sequence,
    since: before.sequence,
    timestampMs: after.timestampMs,
    ...(!sameFields(before.service, after.service) && { service: after.service }),
    ...(!sameNode(before.node, after.node) && { node: after.node }),
    ...(inventory && before.inventory !== inventory && { inventory }),
    instances: changed,
    removed: [...old.keys()],
  };
}

/** The report that the delta leads to. Throws a RangeError where it builds upon another one. */
export function applyDelta(full: FullReport, delta: DeltaReport): FullReport {
  if (delta.since !== full.sequence) {
    throw new RangeError(`the delta builds upon report ${delta.since}, not ${full.sequence}`);
  }
  const instances = new Map(full.instances.map((instance) => [instance.uuid, instance]));
  for (const uuid of delta.removed) instances.delete(uuid);
  for (const instance of delta.instances) instances.set(instance.uuid, instance);
  return {
    ...full,
    sequence: delta.sequence,
    timestampMs: delta.timestampMs,
    service: delta.service ?? full.service,
    node: delta.node ?? full.node,
    inventory: delta.inventory ?? full.inventory,
    instances: [...instances.values()],
  };
}

/** Of flat records: usage and rates are made anew by each sample, and are otherwise the same objects. */
export function sameFields<T extends object>(a: T, b: T): boolean {
  if (a === b) return true;
  const keys = Object.keys(a) as (keyof T)[];
  return keys.length === Object.keys(b).length && keys.every((key) => Object.is(a[key], b[key]));
}

/** As {@link sameFields}, with the figures of each resource compared one by one. */
export function sameNode(a: NodeReport, b: NodeReport): boolean {
  const { vcpus, memoryMb, diskGb, pcpus, ...rest } = a;
  const other = { vcpus: b.vcpus, memoryMb: b.memoryMb, diskGb: b.diskGb, pcpus: b.pcpus };
  return (
    sameFields(vcpus, other.vcpus) &&
    sameFields(memoryMb, other.memoryMb) &&
    sameFields(diskGb, other.diskGb) &&
    (pcpus && other.pcpus ? sameFields(pcpus, other.pcpus) : pcpus === other.pcpus) &&
    Object.entries(rest).every(([key, value]) => Object.is(value, b[key as keyof NodeReport]))
  );
}
