import { expect, it } from 'vitest';
import { runningOf, usageOf } from '../../../src/libvirt/usage.js';

/** A row as native/addon/usage_sample.cc writes it, NaN where nothing is given. */
function row(values: Readonly<Record<number, number>>): number[] {
  return Array.from({ length: 21 }, (_, column) => values[column] ?? Number.NaN);
}

const RUNNING = { 0: 7, 1: 1, 2: 0, 3: 1000, 4: 2, 5: 0, 6: 131072, 7: 262144, 8: 4096 };
const STOPPED = { 0: -1, 1: 5, 2: 1, 3: 1000, 4: 4, 5: 0, 6: 0, 7: 131072, 19: 44, 20: 0 };

function sample() {
  const rows = [
    ...row({
      ...RUNNING,
      9: 1,
      10: 2,
      11: 3,
      12: 4,
      13: 5,
      14: 6,
      15: 7,
      16: 8,
      17: 9,
      18: 10,
      19: 42,
      20: 2,
    }),
    ...row(STOPPED),
  ];
  const figures = new ArrayBuffer((rows.length + 2) * 8);
  new Float64Array(figures).set(rows);
  const integers = new BigUint64Array(figures);
  // More than a double holds exactly.
  integers[5] = 2n ** 53n + 1n;
  integers.set([11n, 12n], 42);
  return { uuids: ['a', 'b'], names: ['instance-a', 'instance-b'], figures };
}

it('reads all figures of a row', () => {
  expect(usageOf(sample(), [8192, Number.NaN])).toEqual([
    {
      uuid: 'a',
      name: 'instance-a',
      powerState: 'running',
      timestampMs: 1000,
      vcpus: 2,
      cpuTimeNs: 2n ** 53n + 1n,
      memoryMb: 128,
      maxMemoryMb: 256,
      rssBytes: 4096,
      disk: { readBytes: 1, writeBytes: 2, readRequests: 3, writeRequests: 4 },
      network: { rxBytes: 5, txBytes: 6, rxPackets: 7, txPackets: 8, rxDropped: 9, txDropped: 10 },
      diskAllocatedBytes: 8192,
      vcpuTimesNs: [11n, 12n],
    },
    {
      uuid: 'b',
      name: 'instance-b',
      powerState: 'suspended',
      timestampMs: 1000,
      vcpus: 4,
      cpuTimeNs: 0n,
      memoryMb: 0,
      maxMemoryMb: 128,
      rssBytes: undefined,
      disk: undefined,
      network: undefined,
      diskAllocatedBytes: undefined,
    },
  ]);
});

it('counts the vCPUs of those that have a process, and those that run', () => {
  expect(runningOf(sample())).toEqual({ vcpus: 2, instances: 1 });
  expect(runningOf({ uuids: [], names: [], figures: new ArrayBuffer(0) })).toEqual({
    vcpus: 0,
    instances: 0,
  });
});
