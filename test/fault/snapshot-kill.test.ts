// kill -9 in the middle of a snapshot, of our process, of QEMU, of libvirtd: the instance is as before, and nothing is left.
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { ComputeError, ComputeNode, type SnapshotStep } from '../../src/index.js';
import { eventually, GUEST_IMAGE, qemuProcesses, TestHost } from '../support/host.js';

const INDEX = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);
const STEPS = ['copy', 'quiesce', 'convert', 'upload'] as const;

/**
 * Opens the node, says what it was found like, takes a whole snapshot, and begins another in which it kills itself, so long
 * after a step has begun.
 */
const SCRIPT = `
import { readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { ComputeNode } from ${INDEX};
const { options, request, target, kill } = JSON.parse(process.argv[1]);
const { uuid } = request;
const node = await ComputeNode.open(options);
const text = async () => Buffer.from(await node.console(uuid)).toString();
const until = async (look) => { while (!(await look())) await new Promise((wake) => setTimeout(wake, 50)); };
if ((await node.list()).length === 0) {
  await node.launch(request);
  await until(async () => (await text()).includes('"event":"BOOTED"'));
  const console = await node.guests.openConsole(uuid);
  console.resume();
  console.write('dd if=/dev/urandom of=/dev/vda bs=1M seek=100 count=96 conv=notrunc,fsync; echo do$((1))ne\\n');
  await until(async () => (await text()).includes('do1ne'));
  console.destroy();
}
const left = [
  ...readdirSync(join(options.instancesPath, uuid)).filter((name) => name.startsWith('snapshot')),
  ...readdirSync(dirname(target.path)).filter((name) => name.endsWith('.part')),
];
const frozen = (await text()).match(/(?<="event":"AGENT","did":")(?:freeze|thaw)/g)?.at(-1) === 'freeze';
const { powerState } = await node.get(uuid);
// libvirt, killed between the end of a copy and its note of that, lets go of it at its next start only.
const busy = (error) => {
  if (error.details?.reason !== 'ended-copy') throw error;
  return { how: 'busy' };
};
const { how } = await node.snapshot(uuid, { type: 'file', path: target.path + '-whole' }).catch(busy);
process.stdout.write(JSON.stringify({ recoveries: node.recoveries, left, frozen, powerState, how }) + '\\n');
if (how === 'busy') process.exit();
const die = () => process.kill(process.pid, 'SIGKILL');
if (kill) {
  await node.snapshot(uuid, target, {
    compression: 'zlib',
    onProgress: ({ step }) => {
      if (step === kill.at) kill.delayMs === 0 ? die() : setTimeout(die, kill.delayMs);
    },
  });
} else {
  await node.terminate(uuid);
  await node.close();
}
`;

const settings = {
  async embedded(host: TestHost) {
    return { driverOptions: { root: host.root, vncListen: '' }, daemon: undefined };
  },
  async daemon(host: TestHost) {
    const daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
    return { driverOptions: { uri: daemon.uri, vncListen: '' }, daemon };
  },
};

const KILLS = [
  { at: 'copy', delayMs: 0 },
  { at: 'copy', delayMs: 60 },
  { at: 'copy', delayMs: 200 },
  { at: 'quiesce', delayMs: 0 },
  { at: 'quiesce', delayMs: 8 },
  { at: 'quiesce', delayMs: 25 },
  { at: 'convert', delayMs: 100 },
  { at: 'upload', delayMs: 0 },
] as const;

const requestOf = (uuid: string) => ({
  uuid,
  name: 'guest',
  flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
  image: {
    id: 'guest',
    diskFormat: 'qcow2',
    source: { type: 'file', path: GUEST_IMAGE },
    properties: { hw_qemu_guest_agent: 'yes' },
  } as const,
});

async function run(argument: object): Promise<{ readonly signal: string | null; readonly output: string }> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT, JSON.stringify(argument)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  const signal = await new Promise<string | null>((resolve) =>
    child.once('close', (_code, name) => resolve(name)),
  );
  return { signal, output };
}

it.each(Object.entries(settings))(
  'our process, at any moment, on libvirt, %s: the next one finds the instance as before',
  async (_name, make) => {
    const host = new TestHost();
    const { driverOptions, daemon } = await make(host);
    onTestFinished(() => {
      daemon?.stop();
      host.dispose();
    });
    const options = { instancesPath: host.instancesPath, driverOptions };
    const request = requestOf(randomUUID());
    let pids: number[] = [];
    for (const [index, kill] of [...KILLS, undefined].entries()) {
      const argument = { options, request, target: host.snapshotTarget(), kill };
      const first = await run(argument);
      const isBusy = first.output.includes('"how":"busy"');
      const { signal, output } = isBusy ? await run(argument) : first;
      const before = KILLS[index - 1];
      const what = `after ${JSON.stringify(before)}: ${output}`;
      const told = JSON.parse(output) as object;
      expect(told, what).toMatchObject({ left: [], frozen: false, powerState: 'running', how: 'live' });
      expect(JSON.parse(first.output), what).toMatchObject({
        recoveries: before
          ? [
              {
                action: 'adopted',
                reason: expect.stringContaining('a snapshot was interrupted and is undone'),
              },
            ]
          : [],
      });
      expect(signal, what).toBe(kill ? 'SIGKILL' : null);
      if (index > 0 && kill) expect(qemuProcesses(request.uuid), what).toEqual(pids);
      pids = qemuProcesses(request.uuid);
    }
    expect(host.remains()).toEqual([]);
  },
  300_000,
);

describe.each(Object.entries(settings))('on libvirt, %s', (name, make) => {
  const uuid = randomUUID();
  let host: TestHost;
  let setting: Awaited<ReturnType<typeof make>>;
  let pids: number[] = [];
  const open = () =>
    ComputeNode.open({ instancesPath: host.instancesPath, driverOptions: setting.driverOptions });

  beforeAll(async () => {
    host = new TestHost();
    setting = await make(host);
    await using node = await open();
    await node.launch(requestOf(uuid));
    await host.booted(uuid);
    pids = qemuProcesses(uuid);
  }, 180_000);

  afterAll(() => {
    setting.daemon?.stop();
    host.dispose();
  });

  const left = (target: { readonly path: string }): string[] => [
    ...readdirSync(join(host.instancesPath, uuid)).filter((name) => name.startsWith('snapshot')),
    ...readdirSync(dirname(target.path)),
  ];

  const agentDid = (): string[] => [
    ...(host.consoleText(uuid).match(/(?<="event":"AGENT","did":")(?:freeze|thaw)/g) ?? []),
  ];

  /** The same QEMU, running, not frozen, without a copy in the way of the next snapshot. */
  const asBefore = async (node: ComputeNode, target: { readonly path: string }): Promise<void> => {
    expect(left(target)).toEqual([]);
    expect(qemuProcesses(uuid)).toEqual(pids);
    expect((await node.get(uuid)).powerState).toBe('running');
    await eventually('the guest not to be frozen', 10_000, () => agentDid().at(-1) !== 'freeze');
  };

  const killLibvirtd = async (): Promise<void> => {
    const { daemon } = setting;
    await using node = await open();
    for (const at of STEPS) {
      const target = host.snapshotTarget();
      let killed = false;
      const onProgress = ({ step }: { readonly step: SnapshotStep }): void => {
        if (step === at && !killed) daemon?.kill();
        killed ||= step === at;
      };
      const outcome = await node.snapshot(uuid, target, { onProgress }).catch((error: unknown) => error);
      if (ComputeError.is(outcome)) expect(outcome.retryable, `${at}: ${outcome.message}`).toBe(true);
      else expect(existsSync(target.path)).toBe(true);
      rmSync(target.path, { force: true });
      await eventually('the connection', 30_000, () =>
        node.list().then(
          () => true,
          () => false,
        ),
      );
      await asBefore(node, target);
    }
  };
  // An embedded libvirt dies with this process.
  if (name === 'daemon') {
    it('libvirtd, at each step: the snapshot fails or succeeds, and nothing is left', killLibvirtd);
  }

  it('QEMU, at each step: the snapshot fails or is whole, and the instance starts again', async () => {
    await using node = await open();
    for (const at of STEPS) {
      const target = host.snapshotTarget();
      const onProgress = ({ step }: { readonly step: SnapshotStep }): void => {
        if (step === at) for (const pid of qemuProcesses(uuid)) process.kill(pid, 'SIGKILL');
      };
      const outcome = await node.snapshot(uuid, target, { onProgress }).catch((error: unknown) => error);
      expect(ComputeError.is(outcome)).toBe(at === 'copy' || at === 'quiesce');
      rmSync(target.path, { force: true });
      expect(left(target)).toEqual([]);
      await eventually('the end', 20_000, async () => (await node.get(uuid)).powerState !== 'running');
      await node.start(uuid);
    }
    await node.terminate(uuid);
    expect(host.remains()).toEqual([]);
  });
});
