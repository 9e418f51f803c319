// kill -9 of the whole process in the middle of a launch: the next start finds what it left and cleans it up.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ComputeNodeOptions, NodeReport, Recovery } from '../../src/index.js';
import { eventually, GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';

const INDEX = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);

/** Launches one instance and kills itself: `delayMs` after `step` began, or never for step `none`. */
const LAUNCHER = `
import { ComputeNode, registerDriver } from ${INDEX};
import { LibvirtDriver } from ${JSON.stringify(new URL('../../dist/libvirt/libvirt-driver.js', import.meta.url).href)};
const { step, delayMs, node, request } = JSON.parse(process.argv[1]);
class Dying extends LibvirtDriver {
  async spawn(instance, options) {
    return await super.spawn(instance, {
      ...options,
      onStep: async (begun) => {
        await options.onStep?.(begun);
        if (begun !== step) return;
        const die = () => process.kill(process.pid, 'SIGKILL');
        if (delayMs === 0) die();
        else setTimeout(die, delayMs);
      },
    });
  }
}
registerDriver('test.Dying', (options) => new Dying(options));
const compute = await ComputeNode.open({ ...node, driver: 'test.Dying' });
await compute.launch(request);
process.kill(process.pid, 'SIGKILL');
`;

let host: TestHost;

beforeEach(() => {
  host = new TestHost();
});
afterEach(() => host.dispose());

function nodeOptions(): ComputeNodeOptions {
  return { instancesPath: host.instancesPath, driverOptions: { root: host.root } };
}

async function launchAndDie(step: string, delayMs: number, uuid: string): Promise<void> {
  const request = {
    uuid,
    name: 'doomed',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    networks: [{ bridge: host.bridge }],
    configDrive: { userData: 'IyEvYmluL3NoCg==' },
  };
  const result = await run(LAUNCHER, { step, delayMs, node: nodeOptions(), request });
  expect(result.signal, result.stderr).toBe('SIGKILL');
}

interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function run(script: string, argument: unknown): Promise<Ended> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(argument)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  return await new Promise((resolve) =>
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr })),
  );
}

/** The next start, in a process of its own since each holds its libvirt root until it ends; then it ends the instance. */
async function startAgain(uuid: string): Promise<{
  readonly recoveries: readonly Recovery[];
  readonly before: NodeReport;
  readonly after: NodeReport;
}> {
  const script = `
    import { ComputeNode } from ${INDEX};
    const { node, uuid } = JSON.parse(process.argv[1]);
    const compute = await ComputeNode.open(node);
    const before = await compute.report();
    await compute.terminate(uuid);
    const after = await compute.report();
    console.log(JSON.stringify({ recoveries: compute.recoveries, before, after }));
    await compute.close();
  `;
  const result = await run(script, { node: nodeOptions(), uuid });
  expect(result.signal ?? result.code, result.stderr).toBe(0);
  return JSON.parse(result.stdout);
}

describe('a process that is killed in the middle of a launch', () => {
  const points = [
    ['image', 0],
    ['image', 15],
    ['definition', 0],
    ['network', 0],
    ['start', 0],
    ['start', 5],
    ['start', 20],
    ['start', 25],
    ['start', 30],
    ['start', 45],
  ] as const;

  for (const [step, delayMs] of points) {
    it(`leaves nothing after the next start: ${delayMs} ms into step ${step}`, async () => {
      const uuid = randomUUID();
      await launchAndDie(step, delayMs, uuid);
      const { recoveries, after } = await startAgain(uuid);
      // A late kill may come after the launch was complete: then it stands, whole, until it is ended.
      expect(recoveries).toHaveLength(1);
      expect(recoveries[0]?.uuid).toBe(uuid);
      expect(['rolled-back', ...(delayMs > 0 ? ['adopted'] : [])]).toContain(recoveries[0]?.action);
      expect(qemuProcesses(uuid)).toEqual([]);
      expect(host.remains()).toEqual([]);
      expect(after).toMatchObject({
        vcpus: { used: 0 },
        memoryMb: { used: 0 },
        diskGb: { used: 0 },
        instances: 0,
      });
    });
  }

  it('adopts an instance whose launch was complete, with its claim, and can end it', async () => {
    const uuid = randomUUID();
    await launchAndDie('none', 0, uuid);
    await host.booted(uuid);
    const { recoveries, before, after } = await startAgain(uuid);
    expect(recoveries).toMatchObject([{ uuid, action: 'adopted' }]);
    expect(before).toMatchObject({ memoryMb: { used: 128 }, instances: 1, runningInstances: 1 });
    expect(qemuProcesses(uuid)).toEqual([]);
    expect(host.remains()).toEqual([]);
    expect(after).toMatchObject({ memoryMb: { used: 0 }, instances: 0 });
  });

  it('ends an instance that libvirt believes to be starting for ever, its QEMU not yet born', async () => {
    const uuid = randomUUID();
    await launchAndDie('none', 0, uuid);
    for (const pid of qemuProcesses(uuid)) process.kill(pid, 'SIGKILL');
    await eventually('QEMU to end', 10_000, () => qemuProcesses(uuid).length === 0);
    // The status file as libvirt writes it some 20 ms into a start, before there is a process.
    const directory = join(host.root, 'run/qemu');
    const file = join(
      directory,
      readdirSync(directory).find((name) => name.endsWith('.xml')) ?? 'no status file',
    );
    const unborn = readFileSync(file, 'utf8').replace(
      /<domstatus .*>/,
      "<domstatus state='paused' reason='starting up' pid='0'><job type='none' async='start' flags='0x0'/>",
    );
    writeFileSync(file, unborn);
    const { recoveries, after } = await startAgain(uuid);
    expect(recoveries).toMatchObject([{ uuid, action: 'adopted' }]);
    expect(host.remains()).toEqual([]);
    expect(after).toMatchObject({ memoryMb: { used: 0 }, instances: 0 });
  });
});
