// The ledger of a node: what its host has, what its instances were promised, and whether one more fits.
import { ComputeError } from '../driver/errors.js';
import {
  type Claim,
  type ClaimedFlavor,
  type ClaimRecord,
  claimedAmounts,
  claimRefused,
  RESOURCE_NAMES,
  type ResourceAmounts,
  type ResourceCheck,
  type ResourceName,
  shortages,
} from './claims.js';
import type { ResourceUsage } from './types.js';

export interface ResourceTrackerOptions {
  /** What the host has. */
  readonly totals: ResourceAmounts;
  /** Nova's initial ratios are the defaults: cpu 4, memory 1, disk 1. */
  readonly allocationRatios?: {
    readonly cpu?: number | undefined;
    readonly memory?: number | undefined;
    readonly disk?: number | undefined;
  };
  /** Held back for the host. Default: 512 MiB of memory, Nova's reserved_host_memory_mb. */
  readonly reserved?: {
    readonly memoryMb?: number | undefined;
    readonly vcpus?: number | undefined;
    readonly diskGb?: number | undefined;
  };
}

export interface ClaimOptions {
  /** Disk in GiB in place of the flavor's: for a root disk of 0 GiB, which takes the size of its image. */
  readonly diskGb?: number | undefined;
}

/** An instance that stands on the host already. */
export interface ClaimedInstance {
  readonly uuid: string;
  readonly flavor: ClaimedFlavor;
  readonly diskGb?: number | undefined;
  /** Of a resize that is not over: what is claimed beside. */
  readonly move?: { readonly flavor: ClaimedFlavor; readonly diskGb: number } | undefined;
}

/** Every method is synchronous, so that no two claims can pass on the same free resources. Keeps nothing on disk. */
export class ResourceTracker {
  readonly #ratios: ResourceAmounts;
  readonly #reserved: ResourceAmounts;
  #totals: ResourceAmounts;
  #claims = new Map<string, { readonly amounts: ResourceAmounts }>();
  /** Claims beside an instance's own, by its uuid. */
  #moves = new Map<string, { readonly amounts: ResourceAmounts }>();
  #used: Record<ResourceName, number> = { vcpus: 0, memoryMb: 0, diskGb: 0 };

  /** Throws `INVALID_ARGUMENT` for a ratio that is not above 0, and for negative totals and reservations. */
  constructor(options: ResourceTrackerOptions) {
    const { allocationRatios: ratios = {}, reserved = {} } = options;
    this.#ratios = { vcpus: ratios.cpu ?? 4, memoryMb: ratios.memory ?? 1, diskGb: ratios.disk ?? 1 };
    this.#reserved = {
      vcpus: reserved.vcpus ?? 0,
      memoryMb: reserved.memoryMb ?? 512,
      diskGb: reserved.diskGb ?? 0,
    };
    for (const resource of RESOURCE_NAMES) {
      if (!(this.#ratios[resource] > 0) || this.#ratios[resource] === Number.POSITIVE_INFINITY) {
        throw invalid(`the allocation ratio of ${resource} must be above 0, not ${this.#ratios[resource]}`);
      }
    }
    checkAmounts('reserved', this.#reserved);
    this.#totals = checkAmounts('total', options.totals);
  }

  /** Takes what the host has now; claims stand, also where they are above the new limit. */
  setTotals(totals: ResourceAmounts): void {
    this.#totals = checkAmounts('total', totals);
  }

  /**
   * Takes the flavor's resources, all or none. Throws `CLAIM_REFUSED` with what was asked, total, used and limit of
   * each resource that falls short, `INSTANCE_EXISTS` where the instance has a claim, `INVALID_ARGUMENT` for a flavor
   * that no claim can be made of.
   */
  claim(uuid: string, flavor: ClaimedFlavor, options: ClaimOptions = {}): Claim {
    if (this.#claims.has(uuid)) {
      throw new ComputeError('INSTANCE_EXISTS', `instance ${uuid} has a claim on this node already`, {
        operation: 'claim',
        instanceUuid: uuid,
      });
    }
    const amounts = claimedAmounts(flavor, options.diskGb);
    const record = this.#record(uuid, amounts);
    const refused = shortages(record);
    if (refused.length > 0) throw claimRefused(record, refused);
    return this.#grant(uuid, amounts, record);
  }

  /**
   * Nova's move claim: what an instance is resized to, beside what it has, until {@link endMove}. Throws as
   * {@link claim}, `INSTANCE_EXISTS` where it has one, `INSTANCE_NOT_FOUND` where it has no claim of its own.
   */
  claimMove(uuid: string, flavor: ClaimedFlavor, options: ClaimOptions = {}): void {
    if (!this.#claims.has(uuid)) throw unclaimed(uuid, 'claimMove');
    if (this.#moves.has(uuid)) {
      throw new ComputeError('INSTANCE_EXISTS', `instance ${uuid} has a move claim on this node already`, {
        operation: 'claimMove',
        instanceUuid: uuid,
      });
    }
    const amounts = claimedAmounts(flavor, options.diskGb);
    const record = this.#record(uuid, amounts);
    const refused = shortages(record);
    if (refused.length > 0) throw claimRefused(record, refused);
    this.#moves.set(uuid, { amounts });
    this.#add(amounts, 1);
  }

  /** `taken`: the move claim becomes the instance's own; else it is given back. Without one nothing is done. */
  endMove(uuid: string, taken: boolean): void {
    const move = this.#moves.get(uuid);
    if (!move) return;
    this.#moves.delete(uuid);
    const gone = taken ? this.#claims.get(uuid) : move;
    if (taken) this.#claims.set(uuid, move);
    if (gone) this.#add(gone.amounts, -1);
  }

  /**
   * Another claim in the place of what the instance has; its own resources count as free. Throws `CLAIM_REFUSED`, never
   * because of a resource of which it asks no more than it has, and `INSTANCE_NOT_FOUND`; nothing is changed then.
   */
  change(uuid: string, flavor: ClaimedFlavor, options: ClaimOptions = {}): void {
    const standing = this.#claims.get(uuid);
    if (!standing) throw unclaimed(uuid, 'change');
    const amounts = claimedAmounts(flavor, options.diskGb);
    this.#add(standing.amounts, -1);
    const record = this.#record(uuid, amounts);
    const refused = shortages(record).filter(
      ({ resource }) => amounts[resource] > standing.amounts[resource],
    );
    if (refused.length > 0) {
      this.#add(standing.amounts, 1);
      throw claimRefused(record, refused);
    }
    this.#claims.set(uuid, { amounts });
    this.#add(amounts, 1);
  }

  /**
   * Forgets all claims and takes those of the instances that were found on the host, whatever the limits say: they run.
   * Handles from before release nothing any more. Throws `INSTANCE_EXISTS` for a uuid given twice, and `INVALID_ARGUMENT`
   * for a bad flavor, and then changes nothing.
   */
  rebuild(instances: Iterable<ClaimedInstance>): Map<string, Claim> {
    const wanted = new Map<string, ResourceAmounts>();
    const moves = new Map<string, { readonly amounts: ResourceAmounts }>();
    for (const { uuid, flavor, diskGb, move } of instances) {
      if (wanted.has(uuid)) {
        throw new ComputeError('INSTANCE_EXISTS', `instance ${uuid} was given twice`, {
          operation: 'rebuild',
          instanceUuid: uuid,
        });
      }
      wanted.set(uuid, claimedAmounts(flavor, diskGb));
      if (move) moves.set(uuid, { amounts: claimedAmounts(move.flavor, move.diskGb) });
    }
    this.#claims = new Map();
    this.#moves = moves;
    this.#used = { vcpus: 0, memoryMb: 0, diskGb: 0 };
    for (const { amounts } of moves.values()) this.#add(amounts, 1);
    const claims = new Map<string, Claim>();
    for (const [uuid, amounts] of wanted) {
      claims.set(uuid, this.#grant(uuid, amounts, this.#record(uuid, amounts)));
    }
    return claims;
  }

  /**
   * Claims another amount of disk, in GiB, for an instance that has a claim. Less always fits; more throws `CLAIM_REFUSED`
   * and changes nothing. Without a claim nothing happens.
   */
  claimDisk(uuid: string, diskGb: number): void {
    const amounts = this.#claims.get(uuid)?.amounts;
    if (amounts === undefined || amounts.diskGb === diskGb) return;
    const more = { vcpus: 0, memoryMb: 0, diskGb: Math.max(0, diskGb - amounts.diskGb) };
    const record = this.#record(uuid, more);
    const refused = shortages(record);
    if (refused.length > 0) throw claimRefused(record, refused);
    this.release(uuid);
    this.#grant(uuid, { ...amounts, diskGb }, record);
  }

  /** Gives back what the instance has, its move claim too, whoever holds the handle. False where it has nothing. */
  release(uuid: string): boolean {
    const entry = this.#claims.get(uuid);
    if (!entry) return false;
    this.#claims.delete(uuid);
    this.#add(entry.amounts, -1);
    this.endMove(uuid, false);
    return true;
  }

  has(uuid: string): boolean {
    return this.#claims.has(uuid);
  }

  /** What the instance has; undefined where it has no claim. */
  amounts(uuid: string): ResourceAmounts | undefined {
    return this.#claims.get(uuid)?.amounts;
  }

  /** Instances with a claim. */
  get size(): number {
    return this.#claims.size;
  }

  usage(): Readonly<Record<ResourceName, ResourceUsage>> {
    return { vcpus: this.#usage('vcpus'), memoryMb: this.#usage('memoryMb'), diskGb: this.#usage('diskGb') };
  }

  #usage(resource: ResourceName): ResourceUsage {
    const total = this.#totals[resource];
    const reserved = this.#reserved[resource];
    const allocationRatio = this.#ratios[resource];
    // The small addend undoes the rounding of a product such as 100 * 1.15, which is 114.99999999999999.
    const limit = Math.floor(Math.max(0, total - reserved) * allocationRatio + 1e-6);
    return { total, reserved, allocationRatio, limit, used: this.#used[resource] };
  }

  #record(uuid: string, asked: ResourceAmounts): ClaimRecord {
    const check = (resource: ResourceName): ResourceCheck => ({
      asked: asked[resource],
      ...this.#usage(resource),
    });
    return {
      instanceUuid: uuid,
      vcpus: check('vcpus'),
      memoryMb: check('memoryMb'),
      diskGb: check('diskGb'),
    };
  }

  #add(amounts: ResourceAmounts, sign: 1 | -1): void {
    for (const resource of RESOURCE_NAMES) this.#used[resource] += sign * amounts[resource];
  }

  #grant(uuid: string, amounts: ResourceAmounts, record: ClaimRecord): Claim {
    const entry = { amounts };
    this.#claims.set(uuid, entry);
    this.#add(amounts, 1);
    return {
      instanceUuid: uuid,
      amounts,
      record,
      release: () => {
        if (this.#claims.get(uuid) === entry) this.release(uuid);
      },
    };
  }
}

function checkAmounts(what: string, amounts: ResourceAmounts): ResourceAmounts {
  for (const resource of RESOURCE_NAMES) {
    if (!Number.isFinite(amounts[resource]) || amounts[resource] < 0) {
      throw invalid(`${what} ${resource} must be 0 or more, not ${amounts[resource]}`);
    }
  }
  return { vcpus: amounts.vcpus, memoryMb: amounts.memoryMb, diskGb: amounts.diskGb };
}

function unclaimed(uuid: string, operation: string): ComputeError {
  return new ComputeError('INSTANCE_NOT_FOUND', `instance ${uuid} has no claim on this node`, {
    operation,
    instanceUuid: uuid,
  });
}

function invalid(message: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', message, { operation: 'ResourceTracker' });
}
