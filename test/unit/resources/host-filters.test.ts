// Nova's filters over reports: against its arithmetic written plainly, and against what a claim would say.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  computeFilter,
  coreFilter,
  diskFilter,
  filterHosts,
  type HostState,
  ResourceTracker,
  ramFilter,
  weighHosts,
} from '../../../src/index.js';
import { nodeReport } from '../../../src/resources/node-report.js';

const NOW = 1_000_000;

interface Host {
  readonly vcpus: number;
  readonly memoryMb: number;
  readonly diskGb: number;
  readonly ratios: { readonly cpu: number; readonly memory: number; readonly disk: number };
  readonly reservedMb: number;
  readonly leastGb: number;
  readonly standing: readonly Flavor[];
}

interface Flavor {
  readonly vcpus: number;
  readonly memoryMb: number;
  readonly rootGb: number;
  readonly ephemeralGb: number;
  readonly swapMb: number;
}

function trackerOf({ vcpus, memoryMb, diskGb, ratios, reservedMb, standing }: Host): ResourceTracker {
  const tracker = new ResourceTracker({
    totals: { vcpus, memoryMb, diskGb },
    allocationRatios: ratios,
    reserved: { memoryMb: reservedMb },
  });
  tracker.rebuild(standing.map((flavor, index) => ({ uuid: `i${index}`, flavor })));
  return tracker;
}

function stateOf(host: Host, service: Partial<HostState['service']> = {}): HostState {
  const resource = {
    hypervisorType: 'QEMU',
    hypervisorVersion: 7_002_000,
    hypervisorHostname: 'host',
    architecture: 'x86_64',
    cpuModel: 'fake',
    vcpus: host.vcpus,
    cpuTopology: { sockets: 1, cores: host.vcpus, threads: 1 },
    numaCells: 1,
    memoryMb: host.memoryMb,
    memoryMbUsed: 0,
    localGb: host.diskGb,
    localGbUsed: 0,
    diskAvailableLeastGb: host.leastGb,
    vcpusUsed: 0,
    runningInstances: 0,
  };
  return {
    node: nodeReport(resource, trackerOf(host), host.standing.length),
    service: {
      state: 'up',
      enabled: true,
      disabledBy: undefined,
      disabledReason: undefined,
      lastSeenMs: NOW,
      startedMs: 0,
      version: '0',
      consecutiveBuildFailures: 0,
      ...service,
    },
  };
}

const flavor: fc.Arbitrary<Flavor> = fc.record({
  vcpus: fc.integer({ min: 1, max: 10 }),
  memoryMb: fc.integer({ min: 1, max: 5000 }),
  rootGb: fc.nat(30),
  ephemeralGb: fc.nat(10),
  swapMb: fc.nat(3000),
});
const ratio = fc.integer({ min: 5, max: 40 }).map((tenths) => tenths / 10);
const hosts: fc.Arbitrary<Host> = fc.record({
  vcpus: fc.integer({ min: 1, max: 16 }),
  memoryMb: fc.integer({ min: 512, max: 20_000 }),
  diskGb: fc.integer({ min: 1, max: 200 }),
  ratios: fc.record({ cpu: ratio, memory: ratio, disk: ratio }),
  reservedMb: fc.constantFrom(0, 512),
  leastGb: fc.integer({ min: -50, max: 200 }),
  standing: fc.array(flavor, { maxLength: 4 }),
});

const sum = (host: Host, of: (one: Flavor) => number): number => host.standing.reduce((t, f) => t + of(f), 0);
/** A product of tenths without the rounding of binary fractions. */
const times = (amount: number, ratio: number): number => Math.floor((amount * Math.round(ratio * 10)) / 10);

describe('in the arithmetic of Nova', () => {
  it('RamFilter: total, (total - reserved) x ratio, used', () => {
    fc.assert(
      fc.property(hosts, flavor, (host, asked) => {
        const limit = times(Math.max(0, host.memoryMb - host.reservedMb), host.ratios.memory);
        const usable = limit - sum(host, ({ memoryMb }) => memoryMb);
        const passes = asked.memoryMb <= host.memoryMb && usable >= asked.memoryMb;
        expect(ramFilter(stateOf(host), asked)).toBe(passes);
      }),
      { numRuns: 1000 },
    );
  });

  it('CoreFilter: never more vCPUs than the host has CPUs', () => {
    fc.assert(
      fc.property(hosts, flavor, (host, asked) => {
        const free = times(host.vcpus, host.ratios.cpu) - sum(host, ({ vcpus }) => vcpus);
        expect(coreFilter(stateOf(host), asked)).toBe(asked.vcpus <= host.vcpus && free >= asked.vcpus);
      }),
      { numRuns: 1000 },
    );
  });

  it('DiskFilter: in MB, from the lesser of what is free and what sparse disks leave', () => {
    fc.assert(
      fc.property(hosts, flavor, (host, asked) => {
        const claimed = sum(host, (f) => f.rootGb + f.ephemeralGb + Math.ceil(f.swapMb / 1024));
        const freeMb = 1024 * Math.min(host.diskGb - claimed, host.leastGb);
        const totalMb = host.diskGb * 1024;
        const usableMb = 1024 * times(host.diskGb, host.ratios.disk) - (totalMb - freeMb);
        const requestedMb = 1024 * (asked.rootGb + asked.ephemeralGb) + asked.swapMb;
        expect(diskFilter(stateOf(host), asked)).toBe(usableMb >= requestedMb);
      }),
      { numRuns: 1000 },
    );
  });
});

it('a host that passes takes the claim', () => {
  let passed = 0;
  fc.assert(
    fc.property(hosts, flavor, (host, asked) => {
      // Whole GiB: the claim rounds swap up, as Placement does, the filter counts it in MB, as Nova's.
      const whole = { ...asked, swapMb: asked.swapMb - (asked.swapMb % 1024) };
      if (filterHosts([stateOf(host)], whole, { nowMs: NOW }).length === 0) return;
      passed += 1;
      expect(() => trackerOf(host).claim('new', whole)).not.toThrow();
    }),
    { numRuns: 1000 },
  );
  expect(passed).toBeGreaterThan(50);
});

const plain: Host = {
  vcpus: 8,
  memoryMb: 8192,
  diskGb: 100,
  ratios: { cpu: 4, memory: 1, disk: 1 },
  reservedMb: 512,
  leastGb: 100,
  standing: [],
};

it.each([
  ['a service that is up, enabled and heard of', {}, true],
  ['one that has been silent for more than a minute', { lastSeenMs: NOW - 60_001 }, false],
  ['one that is down', { state: 'down' }, false],
  ['one that is disabled', { enabled: false }, false],
] as const)('ComputeFilter: %s', (_what, service, passes) => {
  expect(computeFilter(stateOf(plain, service), NOW)).toBe(passes);
  expect(filterHosts([stateOf(plain, service)], { vcpus: 1, memoryMb: 1 }, { nowMs: NOW })).toHaveLength(
    passes ? 1 : 0,
  );
});

it('the host with the most free memory comes first', () => {
  const small = stateOf({ ...plain, memoryMb: 4096 });
  const used = stateOf({
    ...plain,
    standing: [{ vcpus: 1, memoryMb: 7000, rootGb: 0, ephemeralGb: 0, swapMb: 0 }],
  });
  const free = stateOf(plain);
  const given = [used, small, free];
  expect(weighHosts(given)).toEqual([free, small, used]);
  expect(given).toEqual([used, small, free]);
});
