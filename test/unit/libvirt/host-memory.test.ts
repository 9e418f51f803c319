// The kernel's words on memory, as Nova counts them.
import { expect, it } from 'vitest';
import { parseMeminfo } from '../../../src/libvirt/host-memory.js';

const MEMINFO = `MemTotal:       16303136 kB
MemFree:         1048576 kB
MemAvailable:   12000000 kB
Buffers:          524288 kB
Cached:          4194304 kB
SwapCached:        99999 kB
SwapTotal:       2097148 kB
HugePages_Total:       0
`;

it('counts total less free, buffers and cache; not swap, not what is said to be available', () => {
  expect(parseMeminfo(MEMINFO)).toEqual({ totalMb: 15_921, usedMb: 10_290 });
});

it('never tells of less than nothing used', () => {
  const text = 'MemTotal: 1024 kB\nMemFree: 1000 kB\nBuffers: 100 kB\nCached: 100 kB\n';
  expect(parseMeminfo(text)).toEqual({ totalMb: 1, usedMb: 0 });
});

it.each(['MemTotal', 'MemFree', 'Buffers', 'Cached'])('fails where the line %s is missing', (name) => {
  const text = MEMINFO.replace(new RegExp(`^${name}:.*\n`, 'm'), '');
  expect(() => parseMeminfo(text)).toThrow(expect.objectContaining({ code: 'INTERNAL' }));
});
