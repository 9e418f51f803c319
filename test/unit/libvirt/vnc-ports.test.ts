import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { claimPorts } from '../../../src/libvirt/vnc-ports.js';

// Far from those that libvirt is given; this process's own, as tests of other checkouts may run.
const blocks = { first: 1_000_000 + process.pid * 10, size: 1, blocks: 2 };
const files = [0, 1].map((n) => `/run/node-compute/vnc/${blocks.first + n}`);

beforeEach(() => mkdirSync('/run/node-compute/vnc', { recursive: true }));

afterEach(() => {
  for (const file of files) rmSync(file, { force: true });
});

test('each directory has a block of its own, and has it again', () => {
  const one = claimPorts('/one', blocks);
  const two = claimPorts('/two', blocks);
  expect(new Set([one, two])).toEqual(new Set([blocks.first, blocks.first + 1]));
  expect(claimPorts('/one', blocks)).toBe(one);
  expect(claimPorts('/two', blocks)).toBe(two);
});

test('the block of a process that is gone is free, also one whose claim is no claim', async () => {
  const gone = spawn('true');
  await once(gone, 'exit');
  claimPorts('/one', blocks);
  for (const file of files) writeFileSync(file, `${gone.pid} /other\n`);
  const claimed = claimPorts('/one', blocks);
  expect(readFileSync(`/run/node-compute/vnc/${claimed}`, 'utf8')).toBe(`${process.pid} /one\n`);
  for (const file of files) writeFileSync(file, 'nonsense');
  expect(claimPorts('/one', blocks)).toBe(claimed);
});

test('with all taken, the first choice is shared', () => {
  for (const file of files) writeFileSync(file, `${process.ppid} /other\n`);
  const shared = claimPorts('/one', blocks);
  expect(readFileSync(`/run/node-compute/vnc/${shared}`, 'utf8')).toBe(`${process.ppid} /other\n`);
});
