// Claims of NUMA cells, CPUs and large pages: what is asked, where it is put, and what is left.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ComputeError } from '../../../src/driver/errors.js';
import type { InstancePlacement } from '../../../src/driver/placement.js';
import type { HostCell } from '../../../src/resources/host-topology.js';
import { topologyRequest } from '../../../src/resources/topology-request.js';
import { ResourceTracker } from '../../../src/resources/tracker.js';

/** Two cells of eight CPUs, threads n and n + 4 of a core; 512 pages of 2 MiB and one of 1 GiB in each. */
const CELLS: readonly HostCell[] = [0, 1].map((id) => ({
  id,
  memoryMb: 16_384,
  cpus: Array.from({ length: 8 }, (_, cpu) => id * 8 + cpu),
  siblings: Array.from({ length: 8 }, (_, cpu) => [id * 8 + (cpu % 4), id * 8 + (cpu % 4) + 4]),
  hugepages: [
    { sizeKib: 2048, total: 512, free: 512 },
    { sizeKib: 1_048_576, total: 1, free: 1 },
  ],
}));

function tracker(dedicatedCpus: readonly number[] = [2, 3, 6, 7, 10, 11, 14, 15]): ResourceTracker {
  return new ResourceTracker({
    totals: { vcpus: 16, memoryMb: 32_768, diskGb: 100 },
    reserved: { memoryMb: 0 },
    cells: CELLS,
    dedicatedCpus,
  });
}

const flavor = (vcpus: number, memoryMb: number, extraSpecs: Record<string, string>) => ({
  vcpus,
  memoryMb,
  extraSpecs,
});

function refusal(work: () => unknown): ComputeError {
  try {
    work();
  } catch (error) {
    if (ComputeError.is(error)) return error;
  }
  throw new Error('nothing was refused');
}

const refusedResources = (error: ComputeError): string[] =>
  (error.details['refused'] as { resource: string }[]).map(({ resource }) => resource);

describe('what is asked', () => {
  it('is nothing for an ordinary flavor', () => {
    expect(topologyRequest(flavor(2, 512, { 'hw:mem_page_size': 'small', 'quota:cpu_shares': '1' }))).toBe(
      undefined,
    );
  });

  it('is divided evenly, or as the flavor says', () => {
    expect(topologyRequest(flavor(4, 1024, { 'hw:numa_nodes': '2' }))?.cells).toEqual([
      { vcpus: [0, 1], memoryMb: 512 },
      { vcpus: [2, 3], memoryMb: 512 },
    ]);
    const mapped = {
      'hw:numa_nodes': '2',
      'hw:numa_cpus.0': '0-2',
      'hw:numa_cpus.1': '3',
      'hw:numa_mem.0': '768',
      'hw:numa_mem.1': '256',
    };
    expect(topologyRequest(flavor(4, 1024, mapped))?.cells).toEqual([
      { vcpus: [0, 1, 2], memoryMb: 768 },
      { vcpus: [3], memoryMb: 256 },
    ]);
  });

  it.each([
    [{ 'hw:numa_nodes': '3' }],
    [{ 'hw:numa_nodes': 'two' }],
    [{ 'hw:numa_nodes': '2', 'hw:numa_cpus.0': '0-9' }],
    [{ 'hw:mem_page_size': '2 parsecs' }],
    [{ 'hw:cpu_policy': 'mixed' }],
  ])('refuses %j', (extraSpecs) => {
    expect(refusal(() => topologyRequest(flavor(4, 1024, extraSpecs))).code).toBe('INVALID_ARGUMENT');
  });

  it('reads sizes of pages, and the image where the flavor leaves the choice', () => {
    const size = (ofFlavor: string, ofImage?: string) =>
      topologyRequest(
        flavor(1, 1024, { 'hw:mem_page_size': ofFlavor }),
        ofImage === undefined ? {} : { hw_mem_page_size: ofImage },
      )?.pageSizeKib;
    expect([size('2048'), size('2MB'), size('1GB'), size('large'), size('any', '2MB')]).toEqual([
      2048,
      2048,
      1_048_576,
      'large',
      2048,
    ]);
  });
});

describe('dedicated CPUs', () => {
  it('are whole cores where there are such, in one cell, and take no shared vCPU', () => {
    const ledger = tracker();
    const { placement, record } = ledger.claim('a', flavor(2, 512, { 'hw:cpu_policy': 'dedicated' }));
    expect(placement).toEqual({ dedicated: [2, 6], shared: [0, 1, 4, 5, 8, 9, 12, 13], nodes: [0] });
    expect(record.pcpus).toMatchObject({ asked: 2, used: 0, total: 8 });
    expect(ledger.usage().vcpus).toMatchObject({ total: 8, used: 0 });
    expect(ledger.pcpus()).toMatchObject({ total: 8, used: 2 });
    expect(ledger.dedicated('a')).toBe(2);
  });

  it('of a mixed instance leave its other vCPUs shared, and the emulator can have one more', () => {
    const { placement, amounts } = tracker().claim(
      'a',
      flavor(3, 512, {
        'hw:cpu_policy': 'mixed',
        'hw:cpu_dedicated_mask': '^0',
        'hw:emulator_threads_policy': 'isolate',
      }),
    );
    expect(amounts.vcpus).toBe(1);
    expect(placement).toMatchObject({ dedicated: [2, 6], emulator: [3] });
  });

  it('that no cell has together are refused, though the host has them', () => {
    const ledger = tracker();
    const six = flavor(6, 512, { 'hw:cpu_policy': 'dedicated' });
    expect(refusedResources(refusal(() => ledger.claim('a', six)))).toEqual(['numaCells']);
    const { placement } = ledger.claim('b', flavor(6, 512, { ...six.extraSpecs, 'hw:numa_nodes': '2' }));
    expect(placement?.nodes.toSorted()).toEqual([0, 1]);
    expect(refusedResources(refusal(() => ledger.claim('c', six)))).toEqual(['pcpus']);
    ledger.release('b');
    expect(ledger.pcpus()?.used).toBe(0);
  });

  it('are refused where none are set aside, and where the driver tells no cells', () => {
    const pinned = flavor(1, 512, { 'hw:cpu_policy': 'dedicated' });
    const none = refusal(() => tracker([]).claim('a', pinned));
    expect([none.code, none.retryable, refusedResources(none)]).toEqual(['CLAIM_REFUSED', false, ['pcpus']]);
    const blind = new ResourceTracker({ totals: { vcpus: 4, memoryMb: 4096, diskGb: 10 } });
    expect(refusal(() => blind.claim('a', pinned)).code).toBe('UNSUPPORTED');
    expect(blind.claim('b', flavor(1, 512, { 'hw:numa_nodes': '1' })).placement).toBeUndefined();
  });
});

describe('large pages and cells', () => {
  it('large takes the largest size that holds it', () => {
    const ledger = tracker();
    const large = (memoryMb: number) => flavor(1, memoryMb, { 'hw:mem_page_size': 'large' });
    expect(ledger.claim('a', large(1024)).placement).toMatchObject({ pageSizeKib: 1_048_576, nodes: [0] });
    expect(ledger.claim('b', large(512)).placement).toMatchObject({ pageSizeKib: 2048 });
    expect(refusedResources(refusal(() => ledger.claim('c', large(1536))))).toEqual(['numaCells']);
    expect(refusedResources(refusal(() => ledger.claim('c', large(8192))))).toEqual(['hugepages']);
  });

  it('a cell is found for each guest cell, though the first choice was another', () => {
    const ledger = tracker();
    // Cell 0 has room for the small guest cell only: the large one must get cell 1.
    ledger.claim('filler', flavor(1, 10_000, { 'hw:numa_nodes': '1' }));
    const { placement } = ledger.claim(
      'a',
      flavor(2, 13_000, {
        'hw:numa_nodes': '2',
        'hw:numa_cpus.0': '0',
        'hw:numa_cpus.1': '1',
        'hw:numa_mem.0': '1000',
        'hw:numa_mem.1': '12000',
      }),
    );
    expect(placement?.nodes).toEqual([0, 1]);
  });
});

describe('a resize of an instance that has its place', () => {
  const begun = () => {
    const ledger = tracker();
    ledger.claim('a', flavor(2, 512, { 'hw:cpu_policy': 'dedicated' }));
    const placement = ledger.claimMove('a', flavor(4, 1024, { 'hw:cpu_policy': 'dedicated' }));
    expect([ledger.pcpus()?.used, ledger.dedicated('a'), ledger.amounts('a')?.memoryMb]).toEqual([
      6, 6, 1536,
    ]);
    return { ledger, placement };
  };

  it('has both places until it is over, and the one or the other then', () => {
    for (const [taken, cpus, memoryMb] of [
      [true, 4, 1024],
      [false, 2, 512],
    ] as const) {
      const { ledger, placement } = begun();
      expect(placement?.nodes).toEqual([1]);
      ledger.endMove('a', taken);
      expect([ledger.size, ledger.pcpus()?.used, ledger.usage().memoryMb.used]).toEqual([1, cpus, memoryMb]);
    }
  });

  it('has both again after a restart', () => {
    const { placement } = begun();
    const ledger = tracker();
    const move = { flavor: flavor(4, 1024, { 'hw:cpu_policy': 'dedicated' }), diskGb: 0, placement };
    ledger.rebuild([{ uuid: 'a', flavor: flavor(2, 512, {}), move }]);
    expect([ledger.pcpus()?.used, ledger.usage().memoryMb.used]).toEqual([4, 1536]);
    ledger.release('a');
    expect([ledger.pcpus()?.used, ledger.usage().memoryMb.used]).toEqual([0, 0]);
  });

  it('is not changed while it runs', () => {
    const { ledger } = begun();
    const change = () => ledger.change('a', flavor(3, 512, {}));
    expect(change).toThrowError(expect.objectContaining({ code: 'UNSUPPORTED' }));
  });
});

it('another amount of disk leaves an instance where it is', () => {
  const ledger = tracker();
  ledger.claim('a', { ...flavor(2, 512, { 'hw:cpu_policy': 'dedicated' }), rootGb: 1 });
  ledger.claimDisk('a', 5);
  expect([ledger.usage().diskGb.used, ledger.dedicated('a'), ledger.pcpus()?.used]).toEqual([5, 2, 2]);
  ledger.release('a');
  expect(ledger.pcpus()?.used).toBe(0);
});

it('the memory of the emulator is claimed beside that of the flavor', () => {
  const ledger = new ResourceTracker({
    totals: { vcpus: 4, memoryMb: 2048, diskGb: 10 },
    reserved: { memoryMb: 0 },
    overheadMb: 100,
  });
  ledger.claim('a', { vcpus: 1, memoryMb: 1024 });
  expect(ledger.usage().memoryMb.used).toBe(1124);
  expect(refusedResources(refusal(() => ledger.claim('b', { vcpus: 1, memoryMb: 1000 })))).toEqual([
    'memoryMb',
  ]);
});

it('over random claims and releases no CPU and no page has two owners, and a rebuild finds the same', () => {
  const step = fc.record({
    name: fc.nat(9).map((n) => `i${n}`),
    release: fc.boolean(),
    vcpus: fc.integer({ min: 1, max: 4 }).map((n) => n * 2),
    nodes: fc.constantFrom('1', '2'),
    policy: fc.constantFrom('shared', 'dedicated'),
    pages: fc.constantFrom('small', '2MB', 'large'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const ledger = tracker();
      const standing = new Map<string, { flavor: ReturnType<typeof flavor>; placement: InstancePlacement }>();
      for (const { name, release, vcpus, nodes, policy, pages } of steps) {
        if (release || standing.has(name)) {
          ledger.release(name);
          standing.delete(name);
          continue;
        }
        const asked = flavor(vcpus, 256, {
          'hw:numa_nodes': nodes,
          'hw:cpu_policy': policy,
          'hw:mem_page_size': pages,
        });
        try {
          const { placement } = ledger.claim(name, asked);
          if (placement) standing.set(name, { flavor: asked, placement });
        } catch (error) {
          expect((error as ComputeError).code).toBe('CLAIM_REFUSED');
        }
      }
      const owned = [...standing.values()].flatMap(({ placement }) => placement.dedicated);
      expect(new Set(owned).size).toBe(owned.length);
      expect(ledger.pcpus()?.used).toBe(owned.length);
      const other = tracker();
      other.rebuild([...standing].map(([uuid, one]) => ({ uuid, ...one })));
      expect(other.pcpus()).toEqual(ledger.pcpus());
      expect(other.usage()).toEqual(ledger.usage());
    }),
    { numRuns: 200 },
  );
});
