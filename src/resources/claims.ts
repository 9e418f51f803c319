// What one instance asks of a node and whether the node has it: Nova's claim arithmetic, without state.
import { ComputeError } from '../driver/errors.js';
import type { Flavor } from '../driver/model.js';
import type { InstancePlacement } from '../driver/placement.js';
import type { ResourceUsage } from './types.js';

/** What is counted. The order is that of messages and reports. */
export type ResourceName = 'vcpus' | 'memoryMb' | 'diskGb';

export const RESOURCE_NAMES: readonly ResourceName[] = ['vcpus', 'memoryMb', 'diskGb'];

/** An amount of each resource; whole numbers. */
export type ResourceAmounts = Readonly<Record<ResourceName, number>>;

/** The part of a flavor that costs something. */
export type ClaimedFlavor = Pick<Flavor, 'vcpus' | 'memoryMb'> &
  Partial<Pick<Flavor, 'rootGb' | 'ephemeralGb' | 'swapMb' | 'extraSpecs'>>;

/** One resource at the moment of a claim. */
export interface ResourceCheck extends ResourceUsage {
  readonly asked: number;
}

/** A claim in figures, as the log and the details of a refusal hold them; `used` is what stood before the claim. */
export interface ClaimRecord {
  readonly instanceUuid: string;
  readonly vcpus: ResourceCheck;
  readonly memoryMb: ResourceCheck;
  readonly diskGb: ResourceCheck;
  /** Host CPUs of its own; where the flavor asks for some. */
  readonly pcpus?: ResourceCheck;
}

/** What a claim can fall short of: beside the counted ones, large pages (of one size) and NUMA cells that have room. */
export type ClaimedName = ResourceName | 'pcpus' | 'hugepages' | 'numaCells';

/** Why one resource refuses. */
export interface ClaimShortage extends ResourceCheck {
  readonly resource: ClaimedName;
  /** `limit`: used + asked is above the limit; `physical`: one instance alone asks for more than the host has. */
  readonly rule: 'limit' | 'physical';
}

/** A granted claim. It stands until it is released; it is not tied to the life of this object. */
export interface Claim {
  readonly instanceUuid: string;
  readonly amounts: ResourceAmounts;
  readonly record: ClaimRecord;
  /** Host CPUs, cells and pages that were chosen, for a flavor that asks for such. */
  readonly placement?: InstancePlacement;
  /** Gives the resources back. Idempotent; does nothing to a later claim of the same instance. */
  release(): void;
}

/** What an instance takes beside what its flavor says. */
export interface ClaimAdjustment {
  /** Disk in GiB in place of the flavor's. */
  readonly diskGb?: number | undefined;
  /** vCPUs that have host CPUs of their own: they take none of the shared ones. */
  readonly dedicated?: number;
  /** Memory of the hypervisor itself, in MiB. */
  readonly overheadMb?: number;
}

/** What a flavor takes: disk is root + ephemeral + swap, the swap rounded up to GiB, as Nova reports it to Placement. */
export function claimedAmounts(
  flavor: ClaimedFlavor,
  { diskGb, dedicated = 0, overheadMb = 0 }: ClaimAdjustment = {},
): ResourceAmounts {
  const root = amount('rootGb', flavor.rootGb ?? 0);
  const ephemeral = amount('ephemeralGb', flavor.ephemeralGb ?? 0);
  const swap = amount('swapMb', flavor.swapMb ?? 0);
  const amounts = {
    vcpus: amount('vcpus', flavor.vcpus),
    memoryMb: amount('memoryMb', flavor.memoryMb),
    diskGb: diskGb === undefined ? root + ephemeral + Math.ceil(swap / 1024) : amount('diskGb', diskGb),
  };
  if (amounts.vcpus < 1 || amounts.memoryMb < 1) {
    throw new ComputeError('INVALID_ARGUMENT', 'a flavor has at least 1 vCPU and 1 MiB of memory', {
      operation: 'claim',
      details: amounts,
    });
  }
  if (dedicated === 0 && overheadMb === 0) return amounts;
  return { ...amounts, vcpus: amounts.vcpus - dedicated, memoryMb: amounts.memoryMb + overheadMb };
}

/** Above any host, far below 2^53: sums of claims stay exact. */
const MOST = 2 ** 40;

function amount(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= MOST) return value;
  throw new ComputeError(
    'INVALID_ARGUMENT',
    `${name} of a flavor must be a whole number from 0 to ${MOST}, not ${value}`,
    {
      operation: 'claim',
      details: { [name]: value },
    },
  );
}

/** Sets what is asked against what there is. Empty when it fits. */
export function shortages(record: ClaimRecord): ClaimShortage[] {
  const found: ClaimShortage[] = [];
  for (const resource of RESOURCE_NAMES) {
    const check = record[resource];
    // Nova's CoreFilter and RamFilter: a ratio lets instances share a host, it does not make one larger than its host.
    const physical = resource !== 'diskGb' && check.asked > check.total;
    if (physical) found.push({ resource, rule: 'physical', ...check });
    else if (check.asked > 0 && check.used + check.asked > check.limit)
      found.push({ resource, rule: 'limit', ...check });
  }
  return found;
}

/** The refusal as an error. Retryable where it would fit once other instances are gone. */
export function claimRefused(record: ClaimRecord, refused: readonly ClaimShortage[]): ComputeError {
  const reasons = refused.map((shortage) => {
    const { name, unit } = WORDS[shortage.resource];
    if (shortage.rule === 'physical') {
      return `${name}: ${shortage.asked}${unit} requested for one instance, the host has ${shortage.total}${unit}`;
    }
    const free = Math.max(0, shortage.limit - shortage.used);
    return (
      `${name}: ${shortage.asked}${unit} requested, ${free}${unit} free ` +
      `(total ${shortage.total}${unit}, limit ${shortage.limit}${unit}, used ${shortage.used}${unit})`
    );
  });
  return new ComputeError(
    'CLAIM_REFUSED',
    `the node has no room for instance ${record.instanceUuid}: ${reasons.join('; ')}`,
    {
      operation: 'claim',
      instanceUuid: record.instanceUuid,
      retryable: refused.every((shortage) => shortage.rule === 'limit' && shortage.asked <= shortage.limit),
      details: { refused: [...refused], claim: record },
    },
  );
}

const WORDS: Readonly<Record<ClaimedName, { readonly name: string; readonly unit: string }>> = {
  vcpus: { name: 'vCPUs', unit: '' },
  memoryMb: { name: 'memory', unit: ' MB' },
  diskGb: { name: 'disk', unit: ' GB' },
  pcpus: { name: 'dedicated CPUs', unit: '' },
  hugepages: { name: 'large pages', unit: '' },
  numaCells: { name: 'NUMA cells with room', unit: '' },
};

/** One line for the log: `vCPUs 2 (used 3 of 16), memory 4096 MB (used ...), disk ...`. */
export function describeClaim(record: ClaimRecord): string {
  const names: readonly (ResourceName | 'pcpus')[] = record.pcpus
    ? [...RESOURCE_NAMES, 'pcpus']
    : RESOURCE_NAMES;
  return names
    .map((resource) => {
      const { name, unit } = WORDS[resource];
      const { asked, used, limit } = record[resource] as ResourceCheck;
      return `${name} ${asked}${unit} (used ${used} of ${limit}${unit})`;
    })
    .join(', ');
}
