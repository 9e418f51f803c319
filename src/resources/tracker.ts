// The ledger of a node: what its host has, what its instances were promised, and whether one more fits.
import { ComputeError } from '../driver/errors.js';
import type { InstancePlacement } from '../driver/placement.js';
import {
  type Claim,
  type ClaimedFlavor,
  type ClaimRecord,
  type ClaimShortage,
  claimedAmounts,
  claimRefused,
  RESOURCE_NAMES,
  type ResourceAmounts,
  type ResourceCheck,
  type ResourceName,
  shortages,
} from './claims.js';
import { type HostCell, HostTopology } from './host-topology.js';
import { layoutShortages } from './layout-shortages.js';
import { type TopologyRequest, topologyRequest } from './topology-request.js';
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
  /** MiB that each instance takes beside its flavor's memory: the emulator's own. Default 0, as Nova's libvirt driver estimates. */
  readonly overheadMb?: number | undefined;
  /** Host CPUs for vCPUs that ask for one each, Nova's cpu_dedicated_set; the others are shared. Default none. */
  readonly dedicatedCpus?: readonly number[] | undefined;
  /** NUMA cells of the host. Without them guest cells and large pages are not counted, and a flavor that asks for CPUs of its own is refused with `UNSUPPORTED`. */
  readonly cells?: readonly HostCell[] | undefined;
}

export interface ClaimOptions {
  /** Disk in GiB in place of the flavor's: for a root disk of 0 GiB, which takes the size of its image. */
  readonly diskGb?: number | undefined;
  /** Of the image, which may ask for a layout, too. */
  readonly properties?: Readonly<Record<string, string>> | undefined;
}

/** An instance that stands on the host already. */
export interface ClaimedInstance extends ClaimOptions {
  readonly uuid: string;
  readonly flavor: ClaimedFlavor;
  /** What its claim was given. */
  readonly placement?: InstancePlacement | undefined;
  /** Of a resize that is not over: what is claimed beside. */
  readonly move?:
    | {
        readonly flavor: ClaimedFlavor;
        readonly diskGb: number;
        readonly placement?: InstancePlacement | undefined;
      }
    | undefined;
}

interface Entry {
  readonly amounts: ResourceAmounts;
  readonly layout?: { readonly request: TopologyRequest; readonly placement: InstancePlacement };
}

/** Every method is synchronous, so that no two claims can pass on the same free resources. Keeps nothing on disk. */
export class ResourceTracker {
  readonly #ratios: ResourceAmounts;
  readonly #reserved: ResourceAmounts;
  readonly #overheadMb: number;
  readonly #dedicatedCpus: number;
  readonly #topology: HostTopology | undefined;
  readonly #listeners = new Set<() => void>();
  #totals: ResourceAmounts;
  #claims = new Map<string, Entry>();
  /** Claims beside an instance's own, by its uuid. */
  readonly #moves = new Map<string, Entry>();
  #used: Record<ResourceName, number> = { vcpus: 0, memoryMb: 0, diskGb: 0 };

  /** Throws `INVALID_ARGUMENT` for a ratio that is not above 0, and for negative totals and reservations. */
  constructor(options: ResourceTrackerOptions) {
    const {
      allocationRatios: ratios = {},
      reserved = {},
      overheadMb = 0,
      dedicatedCpus = [],
      cells,
    } = options;
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
    if (!Number.isInteger(overheadMb) || overheadMb < 0) {
      throw invalid(`the memory overhead must be a whole number of MiB, not ${overheadMb}`);
    }
    this.#overheadMb = overheadMb;
    this.#dedicatedCpus = new Set(dedicatedCpus).size;
    this.#topology = cells && new HostTopology(cells, dedicatedCpus, this.#ratios);
    if (this.#topology && this.#topology.dedicatedCpus.total !== this.#dedicatedCpus) {
      throw invalid('dedicatedCpus names CPUs that the host does not have');
    }
    this.#totals = checkAmounts('total', options.totals);
  }

  /** Takes what the host has now; claims stand, also where they are above the new limit. */
  setTotals(totals: ResourceAmounts): void {
    this.#totals = checkAmounts('total', totals);
    this.#changed();
  }

  /** Calls the listener after every change; it must be quick. Returns how to stop. */
  listen(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
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
    const { entry, record } = this.#fit(uuid, flavor, options);
    return this.#grant(uuid, entry, record);
  }

  /**
   * Nova's move claim: what an instance is resized to, beside what it has, until {@link endMove}. Throws as
   * {@link claim}, `INSTANCE_EXISTS` where it has one, `INSTANCE_NOT_FOUND` where it has no claim of its own. Returns where
   * it is to be.
   */
  claimMove(uuid: string, flavor: ClaimedFlavor, options: ClaimOptions = {}): InstancePlacement | undefined {
    if (!this.#claims.has(uuid)) throw unclaimed(uuid, 'claimMove');
    if (this.#moves.has(uuid)) {
      throw new ComputeError('INSTANCE_EXISTS', `instance ${uuid} has a move claim on this node already`, {
        operation: 'claimMove',
        instanceUuid: uuid,
      });
    }
    const { entry } = this.#fit(uuid, flavor, options);
    this.#moves.set(uuid, entry);
    this.#take(entry);
    return entry.layout?.placement;
  }

  /** `taken`: the move claim becomes the instance's own; else it is given back. Without one nothing is done. */
  endMove(uuid: string, taken: boolean): void {
    const move = this.#moves.get(uuid);
    if (!move) return;
    this.#moves.delete(uuid);
    const gone = taken ? this.#claims.get(uuid) : move;
    if (taken) this.#claims.set(uuid, move);
    if (gone) this.#give(gone);
  }

  /**
   * Another claim in the place of what the instance has; its own resources count as free. Throws `CLAIM_REFUSED`, never
   * because of a resource of which it asks no more than it has, `INSTANCE_NOT_FOUND`, and `UNSUPPORTED` for one that has
   * a place on the host's cells; nothing is changed then.
   */
  change(uuid: string, flavor: ClaimedFlavor, options: ClaimOptions = {}): void {
    const standing = this.#claims.get(uuid);
    if (!standing) throw unclaimed(uuid, 'change');
    if (standing.layout) {
      throw new ComputeError(
        'UNSUPPORTED',
        `instance ${uuid} has CPUs or cells of the host for itself, which do not change while it runs; resize it`,
        { operation: 'change', instanceUuid: uuid },
      );
    }
    const amounts = this.#amounts(flavor, options.diskGb, undefined);
    this.#give(standing);
    const record = this.#record(uuid, amounts);
    const refused = shortages(record).filter(
      // Without a layout there is nothing else to be short of.
      ({ resource }) => amounts[resource as ResourceName] > standing.amounts[resource as ResourceName],
    );
    if (refused.length > 0) {
      this.#take(standing);
      throw claimRefused(record, refused);
    }
    const entry = { amounts };
    this.#claims.set(uuid, entry);
    this.#take(entry);
  }

  /**
   * Forgets all claims and takes those of the instances that were found on the host, whatever the limits say: they run.
   * Handles from before release nothing any more. Throws `INSTANCE_EXISTS` for a uuid given twice, and `INVALID_ARGUMENT`
   * for a bad flavor, and then changes nothing.
   */
  rebuild(instances: Iterable<ClaimedInstance>): Map<string, Claim> {
    const wanted = new Map<string, Entry>();
    const moves = new Map<string, Entry>();
    for (const { uuid, move, ...instance } of instances) {
      if (wanted.has(uuid)) {
        throw new ComputeError('INSTANCE_EXISTS', `instance ${uuid} was given twice`, {
          operation: 'rebuild',
          instanceUuid: uuid,
        });
      }
      wanted.set(uuid, this.#standing(instance));
      if (move) moves.set(uuid, this.#standing({ ...instance, ...move, placement: move.placement }));
    }
    for (const uuid of [...this.#claims.keys()]) this.release(uuid);
    const claims = new Map<string, Claim>();
    for (const [uuid, entry] of wanted) {
      const record = this.#record(uuid, entry.amounts, entry.layout?.request);
      claims.set(uuid, this.#grant(uuid, entry, record));
    }
    for (const [uuid, entry] of moves) {
      this.#moves.set(uuid, entry);
      this.#take(entry);
    }
    return claims;
  }

  /**
   * Claims another amount of disk, in GiB, for an instance that has a claim. Less always fits; more throws `CLAIM_REFUSED`
   * and changes nothing. Without a claim nothing happens.
   */
  claimDisk(uuid: string, diskGb: number): void {
    const entry = this.#claims.get(uuid);
    if (entry === undefined || entry.amounts.diskGb === diskGb) return;
    const { amounts } = entry;
    const more = { vcpus: 0, memoryMb: 0, diskGb: Math.max(0, diskGb - amounts.diskGb) };
    const record = this.#record(uuid, more);
    const refused = shortages(record);
    if (refused.length > 0) throw claimRefused(record, refused);
    const changed = { ...entry, amounts: { ...amounts, diskGb } };
    this.#claims.set(uuid, changed);
    this.#give(entry);
    this.#take(changed);
  }

  /** Gives back what the instance has, its move claim too, whoever holds the handle. False where it has nothing. */
  release(uuid: string): boolean {
    const entry = this.#claims.get(uuid);
    if (!entry) return false;
    this.#claims.delete(uuid);
    this.#give(entry);
    this.endMove(uuid, false);
    return true;
  }

  has(uuid: string): boolean {
    return this.#claims.has(uuid);
  }

  /** What the instance has, its move claim included; undefined where it has no claim. */
  amounts(uuid: string): ResourceAmounts | undefined {
    const [own, move] = [this.#claims.get(uuid)?.amounts, this.#moves.get(uuid)?.amounts];
    if (!own || !move) return own;
    const sum = (resource: ResourceName): number => own[resource] + move[resource];
    return { vcpus: sum('vcpus'), memoryMb: sum('memoryMb'), diskGb: sum('diskGb') };
  }

  /** Host CPUs that the instance has for itself, those of its move claim included. */
  dedicated(uuid: string): number {
    return [this.#claims, this.#moves].reduce((sum, entries) => {
      const placement = entries.get(uuid)?.layout?.placement;
      return sum + (placement ? placement.dedicated.length + (placement.emulator?.length ?? 0) : 0);
    }, 0);
  }

  /** Instances with a claim. */
  get size(): number {
    return this.#claims.size;
  }

  usage(): Readonly<Record<ResourceName, ResourceUsage>> {
    return { vcpus: this.#usage('vcpus'), memoryMb: this.#usage('memoryMb'), diskGb: this.#usage('diskGb') };
  }

  /** Host CPUs set aside for instances that ask for their own; undefined where there are none. */
  pcpus(): ResourceUsage | undefined {
    if (this.#dedicatedCpus === 0) return undefined;
    const { total, used } = this.#topology?.dedicatedCpus ?? { total: this.#dedicatedCpus, used: 0 };
    return { total, reserved: 0, allocationRatio: 1, limit: total, used };
  }

  #amounts(
    flavor: ClaimedFlavor,
    diskGb: number | undefined,
    request: TopologyRequest | undefined,
  ): ResourceAmounts {
    const dedicated = request?.dedicated.length ?? 0;
    return claimedAmounts(flavor, { diskGb, dedicated, overheadMb: this.#overheadMb });
  }

  #usage(resource: ResourceName): ResourceUsage {
    const total = this.#totals[resource] - (resource === 'vcpus' ? this.#sharedOut() : 0);
    const reserved = this.#reserved[resource];
    const allocationRatio = this.#ratios[resource];
    // The small addend undoes the rounding of a product such as 100 * 1.15, which is 114.99999999999999.
    const limit = Math.floor(Math.max(0, total - reserved) * allocationRatio + 1e-6);
    return { total, reserved, allocationRatio, limit, used: this.#used[resource] };
  }

  /** CPUs that are no longer shared. */
  #sharedOut(): number {
    return Math.min(this.#dedicatedCpus, this.#totals.vcpus);
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }

  #record(uuid: string, asked: ResourceAmounts, request?: TopologyRequest): ClaimRecord {
    const check = (resource: ResourceName): ResourceCheck => ({
      asked: asked[resource],
      ...this.#usage(resource),
    });
    return {
      instanceUuid: uuid,
      vcpus: check('vcpus'),
      memoryMb: check('memoryMb'),
      diskGb: check('diskGb'),
      ...(request && request.dedicated.length > 0 && { pcpus: this.#pcpuCheck(request) }),
    };
  }

  #pcpuCheck({ dedicated, isolatesEmulator }: TopologyRequest): ResourceCheck {
    const usage = this.pcpus() ?? { total: 0, reserved: 0, allocationRatio: 1, limit: 0, used: 0 };
    return { asked: dedicated.length + (isolatesEmulator ? 1 : 0), ...usage };
  }

  /** What a claim would take. Throws where it does not fit. */
  #fit(
    uuid: string,
    flavor: ClaimedFlavor,
    { diskGb, properties }: ClaimOptions,
  ): { readonly entry: Entry; readonly record: ClaimRecord } {
    const request = topologyRequest(flavor, properties);
    const amounts = this.#amounts(flavor, diskGb, request);
    const record = this.#record(uuid, amounts, request);
    const refused = shortages(record);
    if (request && this.#topology) {
      const placement = place(this.#topology, request, record, refused);
      return { entry: { amounts, layout: { request, placement } }, record };
    }
    if (request && request.dedicated.length > 0) throw noCells(uuid);
    if (refused.length > 0) throw claimRefused(record, refused);
    return { entry: { amounts }, record };
  }

  /** Without a placement it floats over the host, whatever its flavor says. */
  #standing({ flavor, diskGb, properties, placement }: Omit<ClaimedInstance, 'uuid' | 'move'>): Entry {
    const request = placement && topologyRequest(flavor, properties);
    const amounts = this.#amounts(flavor, diskGb, request);
    return { amounts, ...(request && placement && { layout: { request, placement } }) };
  }

  #take({ amounts, layout }: Entry): void {
    for (const resource of RESOURCE_NAMES) this.#used[resource] += amounts[resource];
    if (layout) this.#topology?.take(layout.request, layout.placement);
    this.#changed();
  }

  #give({ amounts, layout }: Entry): void {
    for (const resource of RESOURCE_NAMES) this.#used[resource] -= amounts[resource];
    if (layout) this.#topology?.give(layout.request, layout.placement);
    this.#changed();
  }

  #grant(uuid: string, entry: Entry, record: ClaimRecord): Claim {
    const { amounts, layout } = entry;
    this.#claims.set(uuid, entry);
    this.#take(entry);
    return {
      instanceUuid: uuid,
      amounts,
      record,
      ...(layout && { placement: layout.placement }),
      release: () => {
        if (this.#claims.get(uuid) === entry) this.release(uuid);
      },
    };
  }
}

/** Throws `CLAIM_REFUSED` with what was short already and what the cells lack. */
function place(
  topology: HostTopology,
  request: TopologyRequest,
  record: ClaimRecord,
  refused: readonly ClaimShortage[],
): InstancePlacement {
  const fit = topology.fit(request);
  if ('placement' in fit && refused.length === 0) return fit.placement;
  const short = 'placement' in fit ? [] : layoutShortages(topology, request, record, fit);
  throw claimRefused(record, [...refused, ...short]);
}

function unclaimed(uuid: string, operation: string): ComputeError {
  return new ComputeError('INSTANCE_NOT_FOUND', `instance ${uuid} has no claim on this node`, {
    operation,
    instanceUuid: uuid,
  });
}

function noCells(uuid: string): ComputeError {
  return new ComputeError(
    'UNSUPPORTED',
    `instance ${uuid} asks for CPUs of its own, and the driver does not tell which the host has`,
    { operation: 'claim', instanceUuid: uuid },
  );
}

function checkAmounts(what: string, amounts: ResourceAmounts): ResourceAmounts {
  for (const resource of RESOURCE_NAMES) {
    if (!Number.isFinite(amounts[resource]) || amounts[resource] < 0) {
      throw invalid(`${what} ${resource} must be 0 or more, not ${amounts[resource]}`);
    }
  }
  return { vcpus: amounts.vcpus, memoryMb: amounts.memoryMb, diskGb: amounts.diskGb };
}

function invalid(message: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', message, { operation: 'ResourceTracker' });
}
