// Random claims, releases, rebuilds and changes of the host against a plain model: the ledger never disagrees with it.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import type { Claim, ClaimedFlavor } from '../../../src/resources/claims.js';
import { ResourceTracker } from '../../../src/resources/tracker.js';

type Amounts = [vcpus: number, memoryMb: number, diskGb: number];

/** A list of claims, summed anew at every question, in the arithmetic of whole numbers (ratios in tenths). */
interface Model {
  totals: Amounts;
  readonly reserved: Amounts;
  readonly tenths: Amounts;
  claims: { readonly uuid: string; readonly amounts: Amounts; readonly handle: Claim | undefined }[];
  /** Handles that were released, or lost their claim to release(uuid) or rebuild. */
  spent: Claim[];
}

interface System {
  readonly tracker: ResourceTracker;
}

function sums(model: Model): Amounts {
  return model.claims.reduce<Amounts>(
    (sum, { amounts }) => [sum[0] + amounts[0], sum[1] + amounts[1], sum[2] + amounts[2]],
    [0, 0, 0],
  );
}

function limitOf(model: Model, i: 0 | 1 | 2): number {
  return Math.floor((Math.max(0, model.totals[i] - model.reserved[i]) * model.tenths[i]) / 10);
}

function amountsOf(flavor: ClaimedFlavor): Amounts {
  const swapGb = Math.floor(((flavor.swapMb ?? 0) + 1023) / 1024);
  return [flavor.vcpus, flavor.memoryMb, (flavor.rootGb ?? 0) + (flavor.ephemeralGb ?? 0) + swapGb];
}

function fits(model: Model, amounts: Amounts): boolean {
  if (amounts[0] > model.totals[0] || amounts[1] > model.totals[1]) return false;
  const used = sums(model);
  return ([0, 1, 2] as const).every((i) => amounts[i] === 0 || used[i] + amounts[i] <= limitOf(model, i));
}

let operations = 0;
const outcomes = { granted: 0, refused: 0, existing: 0, released: 0 };

/** After each operation: what the tracker says is what the list of claims adds up to. */
function agree(model: Model, { tracker }: System): void {
  operations += 1;
  const usage = tracker.usage();
  const [vcpus, memoryMb, diskGb] = sums(model);
  expect([usage.vcpus.used, usage.memoryMb.used, usage.diskGb.used]).toEqual([vcpus, memoryMb, diskGb]);
  expect([usage.vcpus.limit, usage.memoryMb.limit, usage.diskGb.limit]).toEqual([
    limitOf(model, 0),
    limitOf(model, 1),
    limitOf(model, 2),
  ]);
  expect(tracker.size).toBe(model.claims.length);
  for (const { uuid } of model.claims) expect(tracker.has(uuid)).toBe(true);
}

class ClaimCommand implements fc.Command<Model, System> {
  readonly uuid: string;
  readonly flavor: ClaimedFlavor;

  constructor(uuid: string, flavor: ClaimedFlavor) {
    this.uuid = uuid;
    this.flavor = flavor;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, system: System): void {
    const amounts = amountsOf(this.flavor);
    const expected = model.claims.some(({ uuid }) => uuid === this.uuid)
      ? 'INSTANCE_EXISTS'
      : fits(model, amounts)
        ? undefined
        : 'CLAIM_REFUSED';
    let handle: Claim | undefined;
    let code: string | undefined;
    try {
      handle = system.tracker.claim(this.uuid, this.flavor);
    } catch (error) {
      code = ComputeError.is(error) ? error.code : String(error);
    }
    expect(code).toBe(expected);
    if (handle) model.claims.push({ uuid: this.uuid, amounts, handle });
    outcomes[code === undefined ? 'granted' : code === 'CLAIM_REFUSED' ? 'refused' : 'existing'] += 1;
    agree(model, system);
  }
  toString(): string {
    return `claim(${this.uuid}, ${JSON.stringify(this.flavor)})`;
  }
}

class ReleaseCommand implements fc.Command<Model, System> {
  readonly uuid: string;
  readonly byHandle: boolean;

  constructor(uuid: string, byHandle: boolean) {
    this.uuid = uuid;
    this.byHandle = byHandle;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, system: System): void {
    const entry = model.claims.find(({ uuid }) => uuid === this.uuid);
    if (entry && this.byHandle && entry.handle) entry.handle.release();
    else expect(system.tracker.release(this.uuid)).toBe(entry !== undefined);
    if (entry) {
      outcomes.released += 1;
      model.claims = model.claims.filter((other) => other !== entry);
      if (entry.handle) model.spent.push(entry.handle);
    }
    agree(model, system);
  }
  toString(): string {
    return `release(${this.uuid}${this.byHandle ? ', by handle' : ''})`;
  }
}

/** Every handle that has no claim any more is released once more: nothing may change. */
class SpentCommand implements fc.Command<Model, System> {
  check(model: Readonly<Model>): boolean {
    return model.spent.length > 0;
  }
  run(model: Model, system: System): void {
    for (const handle of model.spent) handle.release();
    agree(model, system);
  }
  toString(): string {
    return 'release every spent handle';
  }
}

class TotalsCommand implements fc.Command<Model, System> {
  readonly totals: Amounts;

  constructor(totals: Amounts) {
    this.totals = totals;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, system: System): void {
    const [vcpus, memoryMb, diskGb] = this.totals;
    model.totals = this.totals;
    system.tracker.setTotals({ vcpus, memoryMb, diskGb });
    agree(model, system);
  }
  toString(): string {
    return `setTotals(${this.totals.join(', ')})`;
  }
}

class RebuildCommand implements fc.Command<Model, System> {
  readonly flavors: ReadonlyMap<string, ClaimedFlavor>;

  constructor(flavors: ReadonlyMap<string, ClaimedFlavor>) {
    this.flavors = flavors;
  }
  check(): boolean {
    return true;
  }
  run(model: Model, system: System): void {
    const handles = system.tracker.rebuild([...this.flavors].map(([uuid, flavor]) => ({ uuid, flavor })));
    for (const { handle } of model.claims) if (handle) model.spent.push(handle);
    model.claims = [...this.flavors].map(([uuid, flavor]) => ({
      uuid,
      amounts: amountsOf(flavor),
      handle: handles.get(uuid),
    }));
    agree(model, system);
  }
  toString(): string {
    return `rebuild(${JSON.stringify([...this.flavors])})`;
  }
}

const uuid = fc.integer({ min: 0, max: 11 }).map((n) => `i${n}`);
const flavor: fc.Arbitrary<ClaimedFlavor> = fc.record({
  vcpus: fc.integer({ min: 1, max: 5 }),
  memoryMb: fc.integer({ min: 1, max: 3000 }),
  rootGb: fc.integer({ min: 0, max: 20 }),
  ephemeralGb: fc.integer({ min: 0, max: 5 }),
  swapMb: fc.integer({ min: 0, max: 4000 }),
});
const totals: fc.Arbitrary<Amounts> = fc.tuple(
  fc.integer({ min: 2, max: 16 }),
  fc.integer({ min: 1000, max: 32_768 }),
  fc.integer({ min: 20, max: 300 }),
);
const commands = fc.commands(
  [
    fc.tuple(uuid, flavor).map(([id, of]) => new ClaimCommand(id, of)),
    fc.tuple(uuid, flavor).map(([id, of]) => new ClaimCommand(id, of)),
    fc.tuple(uuid, flavor).map(([id, of]) => new ClaimCommand(id, of)),
    fc.tuple(uuid, fc.boolean()).map(([id, byHandle]) => new ReleaseCommand(id, byHandle)),
    fc.tuple(uuid, fc.boolean()).map(([id, byHandle]) => new ReleaseCommand(id, byHandle)),
    fc.constant(new SpentCommand()),
    totals.map((of) => new TotalsCommand(of)),
    fc.array(fc.tuple(uuid, flavor), { maxLength: 4 }).map((list) => new RebuildCommand(new Map(list))),
  ],
  { maxCommands: 120, size: '+1' },
);
const tenths = fc.integer({ min: 5, max: 40 });

it('agrees with the model over more than 10,000 random operations', () => {
  fc.assert(
    fc.property(
      commands,
      totals,
      fc.tuple(fc.nat(4), fc.nat(2000), fc.nat(20)),
      fc.tuple(tenths, tenths, tenths),
      (steps, start, reserved, ratios) => {
        fc.modelRun(() => {
          const [vcpus, memoryMb, diskGb] = start;
          const tracker = new ResourceTracker({
            totals: { vcpus, memoryMb, diskGb },
            reserved: { vcpus: reserved[0], memoryMb: reserved[1], diskGb: reserved[2] },
            allocationRatios: { cpu: ratios[0] / 10, memory: ratios[1] / 10, disk: ratios[2] / 10 },
          });
          const model: Model = { totals: start, reserved, tenths: ratios, claims: [], spent: [] };
          return { model, real: { tracker } };
        }, steps);
      },
    ),
    { numRuns: 300 },
  );
  expect(operations).toBeGreaterThan(10_000);
  // The run met every outcome often enough to mean something.
  for (const count of Object.values(outcomes)) expect(count).toBeGreaterThan(300);
});
