// Deltas between reports lead from one to the other, rates are those of two samples, and the service says why it is off.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  applyDelta,
  type DriverEvent,
  type FullReport,
  type InstanceReport,
  type InstanceUsage,
  reportDelta,
  reportJson,
  usageRates,
} from '../../../src/index.js';
import { ComputeService } from '../../../src/resources/compute-service.js';
import { powerStateAfter } from '../../../src/resources/power-events.js';

const usage = (total: number) => ({ total, reserved: 0, allocationRatio: 1, limit: total, used: 0 });

const instance: fc.Arbitrary<InstanceReport> = fc.record({
  uuid: fc.nat(7).map((n) => `i${n}`),
  name: fc.constant('instance'),
  displayName: fc.constant('guest'),
  projectId: fc.constant(undefined),
  userId: fc.constant(undefined),
  powerState: fc.constantFrom('running', 'paused'),
  task: fc.constantFrom(undefined, 'reboot'),
  vcpus: fc.nat(2),
  pcpus: fc.constant(0),
  memoryMb: fc.nat(2),
  diskGb: fc.constant(0),
  usage: fc.constant(undefined),
  rates: fc.constant(undefined),
});

const report = fc.record({
  enabled: fc.boolean(),
  total: fc.nat(2),
  pcpus: fc.constantFrom(undefined, 2),
  instances: fc.uniqueArray(instance, { maxLength: 8, selector: ({ uuid }) => uuid }),
});

function fullReport(
  sequence: number,
  made: typeof report extends fc.Arbitrary<infer T> ? T : never,
): FullReport {
  return {
    type: 'full',
    sequence,
    timestampMs: sequence,
    nodeUuid: 'node',
    service: {
      state: 'up',
      enabled: made.enabled,
      disabledBy: made.enabled ? undefined : 'operator',
      disabledReason: undefined,
      lastSeenMs: 0,
      startedMs: 0,
      version: '0',
      consecutiveBuildFailures: 0,
    },
    node: {
      hypervisorType: 'fake',
      hypervisorVersion: 1,
      hypervisorHostname: 'host',
      architecture: 'x86_64',
      cpuModel: 'fake',
      vcpus: usage(made.total),
      memoryMb: usage(1),
      diskGb: usage(1),
      ...(made.pcpus !== undefined && { pcpus: usage(made.pcpus) }),
      memoryMbUsedByHost: 0,
      diskGbUsedByHost: 0,
      diskAvailableLeastGb: 0,
      instances: made.instances.length,
      runningInstances: 0,
    },
    inventory: undefined,
    instances: made.instances,
  };
}

const byUuid = (full: FullReport) => ({
  ...full,
  instances: full.instances.toSorted((a, b) => (a.uuid < b.uuid ? -1 : 1)),
});

describe('deltas', () => {
  it('lead from any report to any other, and hold nothing that is the same in both', () => {
    fc.assert(
      fc.property(report, report, (one, other) => {
        const [before, after] = [fullReport(1, one), fullReport(2, other)];
        const delta = reportDelta(before, after);
        expect(byUuid(applyDelta(before, delta))).toEqual(byUuid(after));
        expect(delta.node === undefined).toBe(JSON.stringify(before.node) === JSON.stringify(after.node));
        expect(delta.service === undefined).toBe(one.enabled === other.enabled);
        for (const changed of delta.instances) expect(before.instances).not.toContainEqual(changed);
      }),
      { numRuns: 500 },
    );
  });

  it('are refused by a report that they do not build upon', () => {
    const empty = { enabled: true, total: 1, pcpus: undefined, instances: [] };
    const delta = reportDelta(fullReport(2, empty), fullReport(3, empty));
    expect(() => applyDelta(fullReport(1, empty), delta)).toThrow(RangeError);
  });
});

const sample = (timestampMs: number, cpuTimeNs: bigint, readBytes?: number): InstanceUsage => ({
  uuid: 'i',
  name: 'i',
  powerState: 'running',
  timestampMs,
  vcpus: 1,
  cpuTimeNs,
  memoryMb: 1,
  maxMemoryMb: 1,
  rssBytes: undefined,
  disk: readBytes === undefined ? undefined : { readBytes, writeBytes: 0, readRequests: 0, writeRequests: 0 },
  network: undefined,
  diskAllocatedBytes: undefined,
});

describe('rates', () => {
  it('are per second, of 100 for one CPU, and undefined without a counter', () => {
    expect(usageRates(sample(1000, 0n, 0), sample(3000, 1_000_000_000n, 4096))).toMatchObject({
      overMs: 2000,
      cpuPercent: 50,
      diskReadBytes: 2048,
      networkRxBytes: undefined,
    });
  });

  it('are not told over a new start of the guest, nor where no time has passed', () => {
    expect(usageRates(sample(1000, 5n), sample(2000, 1n))).toBeUndefined();
    expect(usageRates(sample(1000, 1n, 10), sample(2000, 5n, 0))).toBeUndefined();
    expect(usageRates(sample(1000, 1n), sample(1000, 5n))).toBeUndefined();
  });

  it('and counters are JSON, nanoseconds as text', () => {
    const empty = { enabled: true, total: 1, pcpus: undefined, instances: [] };
    const full = fullReport(1, empty);
    const text = reportJson({ ...full, instances: [{ usage: sample(1, 2n ** 60n) } as InstanceReport] });
    expect(text).toContain('"cpuTimeNs":"1152921504606846976"');
  });
});

async function* connection(...states: ('up' | 'down')[]): AsyncGenerator<DriverEvent> {
  for (const [sequence, state] of states.entries()) {
    yield { type: 'connection', sequence, timestamp: 0, state, detail: 'eof' };
  }
}

describe('the service', () => {
  it('is down and disabled while the hypervisor is lost, and back by itself', async () => {
    const service = new ComputeService({ version: '0' });
    const heard: string[] = [];
    service.listen(() => heard.push(service.status().state));
    await service.follow(connection('down', 'down'));
    expect(service.status()).toMatchObject({
      state: 'down',
      enabled: false,
      disabledBy: 'connection',
      disabledReason: 'connection lost: eof',
    });
    await service.follow(connection('up'));
    expect(service.status()).toMatchObject({ state: 'up', enabled: true, disabledReason: undefined });
    expect(heard).toEqual(['down', 'up']);
  });

  it('stays off by an operator whatever else happens', async () => {
    const service = new ComputeService({ version: '0', buildFailureThreshold: 1 });
    service.disable('maintenance');
    service.buildFailed('START_FAILED');
    service.buildSucceeded();
    await service.follow(connection('down', 'up'));
    expect(service.status()).toMatchObject({ state: 'up', enabled: false, disabledBy: 'operator' });
    service.enable();
    expect(service.status().enabled).toBe(true);
  });

  it('a threshold of 0 never disables it', () => {
    const service = new ComputeService({ version: '0', buildFailureThreshold: 0 });
    for (let failure = 0; failure < 100; failure++) service.buildFailed('START_FAILED');
    expect(service.status()).toMatchObject({ enabled: true, consecutiveBuildFailures: 100 });
  });
});

it.each([
  ['started', 'booted', 'running'],
  ['suspended', 'paused', 'paused'],
  ['resumed', 'unpaused', 'running'],
  ['stopped', 'saved', 'suspended'],
  ['stopped', 'crashed', 'crashed'],
  ['stopped', 'destroyed', 'shutdown'],
  ['pmsuspended', 'memory', 'suspended'],
  ['defined', 'added', undefined],
] as const)('after %s (%s) an instance is %s', (event, detail, state) => {
  const type = 'lifecycle' as const;
  expect(powerStateAfter({ type, sequence: 1, timestamp: 0, uuid: 'i', name: 'i', event, detail })).toBe(
    state,
  );
});
