// A process that is killed in the middle of a swap: QEMU goes on copying, the next process ends that and keeps the first volume.
import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it, onTestFinished } from 'vitest';
import { ComputeNode, type VolumeConnection } from '../../src/index.js';
import { eventually, GUEST_IMAGE, TestHost } from '../support/host.js';

const INDEX = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);
const MIB = 2 ** 20;

const SCRIPT = `
import { ComputeNode } from ${INDEX};
const { options, request, from, to } = JSON.parse(process.argv[1]);
const node = await ComputeNode.open(options);
await node.launch(request);
await node.attachVolume(request.uuid, from);
await node.swapVolume(request.uuid, 'vdb', to);
`;

const host = new TestHost();
afterAll(() => host.dispose());

it('a swap that was interrupted is taken back, and the copy that QEMU goes on with is ended', async () => {
  const from = host.volume('from', 16 * MIB);
  const source = join(host.directory, 'volumes/from');
  const target = join(host.directory, 'volumes/to');
  writeFileSync(source, randomBytes(16 * MIB), { flag: 'r+' });
  host.volume('to', 16 * MIB);
  const empty = statSync(target).blocks;
  const socket = join(host.directory, 'slow.sock');
  const server = spawn('qemu-nbd', [
    ...['-t', '-k', socket, '--object', 'throttle-group,id=slow,x-bps-write=4194304'],
    ...['--image-opts', `driver=throttle,throttle-group=slow,file.driver=file,file.filename=${target}`],
  ]);
  onTestFinished(() => void server.kill('SIGKILL'));
  await eventually('qemu-nbd', 10_000, () => existsSync(socket));
  chmodSync(socket, 0o777);
  const to: VolumeConnection = { driverVolumeType: 'nbd', data: { socket } };
  const uuid = randomUUID();
  const request = {
    uuid,
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
  };
  const options = { instancesPath: host.instancesPath, driverOptions: { root: host.root } };
  const argument = JSON.stringify({ options, request, from, to });
  const child = spawn(process.execPath, ['--input-type=module', '-e', SCRIPT, argument], {
    stdio: 'inherit',
  });
  const ended = new Promise((resolve) => child.once('exit', (_code, signal) => resolve(signal)));
  await eventually('the copy to begin', 60_000, () => statSync(target).blocks > empty);
  child.kill('SIGKILL');
  expect(await ended).toBe('SIGKILL');

  await using node = await ComputeNode.open(options);
  expect(node.recoveries).toEqual([
    { uuid, action: 'adopted', reason: expect.stringContaining('is taken back') },
  ]);
  expect(await node.get(uuid)).toMatchObject({
    powerState: 'running',
    volumes: [{ device: 'vdb', connection: from }],
  });
  expect(readFileSync(join(host.instancesPath, uuid, 'libvirt.xml'), 'utf8')).toContain(source);
  // No copy stands in the way of the next one.
  const other = host.volume('other', 16 * MIB);
  await node.swapVolume(uuid, 'vdb', other);
  expect(readFileSync(join(host.directory, 'volumes/other')).equals(readFileSync(source))).toBe(true);
  await node.terminate(uuid);
  expect(host.remains()).toEqual([]);
});
