// A launch of a cached image starts QEMU and no other process, by the word of the kernel.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const INDEX = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);

/** Marks stand in the trace as removals of files that are not there. */
const SCRIPT = `
import { unlinkSync } from 'node:fs';
import { ComputeNode } from ${INDEX};
const { node, request } = JSON.parse(process.argv[1]);
const mark = (name) => { try { unlinkSync('/mark-' + name); } catch {} };
const compute = await ComputeNode.open(node);
const warmUp = await compute.launch(request);
await compute.terminate(warmUp.instance.uuid);
mark('begin');
const warm = await compute.launch(request);
mark('end');
await compute.terminate(warm.instance.uuid);
await compute.close();
console.log(warm.imageCache);
`;

let host: TestHost;

beforeAll(() => {
  host = new TestHost();
});
afterAll(() => host.dispose());

const mayTrace = spawnSync('strace', ['-e', 'trace=execve', 'true'], { stdio: 'ignore' }).status === 0;

/** What the kernel executed between the two marks. */
function executedBy(
  networks: readonly { readonly bridge: string }[],
  disks: { readonly ephemeralGb?: number; readonly swapMb?: number } = {},
): string[] {
  const trace = join(host.directory, 'trace');
  const argument = {
    node: { instancesPath: host.instancesPath, driverOptions: { root: host.root } },
    request: {
      name: 'traced',
      flavor: { vcpus: 1, memoryMb: 128, rootGb: 1, ...disks },
      image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
      networks,
      configDrive: { userData: 'IyEvYmluL3NoCg==' },
    },
  };
  const command = [process.execPath, '--input-type=module', '-e', SCRIPT, JSON.stringify(argument)];
  const options = ['-f', '-qq', '-s', '200', '-e', 'trace=execve,unlink', '-o', trace];
  const result = spawnSync('strace', [...options, ...command], { encoding: 'utf8', timeout: 150_000 });
  expect(result.stdout.trim(), result.stderr).toBe('hit');
  const lines = readFileSync(trace, 'utf8').split('\n');
  const begin = lines.findIndex((line) => line.includes('/mark-begin'));
  const end = lines.findIndex((line) => line.includes('/mark-end'));
  expect(begin).toBeGreaterThan(0);
  expect(end).toBeGreaterThan(begin);
  return lines.slice(begin, end).flatMap((line) => /execve\("([^"]+)"/.exec(line)?.[1] ?? []);
}

describe('a warm launch', () => {
  it('executes QEMU and nothing else, also with an ephemeral and a swap disk and a config drive', (test) => {
    if (!mayTrace) test.skip('strace is not installed or may not trace');
    const executed = executedBy([], { ephemeralGb: 1, swapMb: 64 });
    expect(executed).toHaveLength(1);
    expect(executed[0]).toMatch(/qemu-system-\w+$/);
  });

  it("executes nothing of ours beside it for an interface either; libvirt sets the tap's queue with tc", (test) => {
    if (!mayTrace) test.skip('strace is not installed or may not trace');
    const [last, ...others] = executedBy([{ bridge: host.bridge }]).reverse();
    expect(last).toMatch(/qemu-system-\w+$/);
    expect(others.every((path) => path.endsWith('/tc'))).toBe(true);
    expect(others.length).toBeLessThanOrEqual(1);
  });
});
