// An instance's disk, flattened by our engine and compressed, is an image that boots: by our own conversion of it as a
// new instance, and as it is by QEMU.
import { spawn } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { afterAll, beforeAll, it } from 'vitest';
import { ComputeNode, convertImage } from '../../src/index.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const host = new TestHost();
let node: ComputeNode;

beforeAll(async () => {
  node = await ComputeNode.open({ instancesPath: host.instancesPath, driverOptions: { root: host.root } });
});

afterAll(async () => {
  await node.close();
  host.dispose();
});

const sha1 = (text: string): string => createHash('sha1').update(text).digest('hex');

async function boot(id: string, path: string): Promise<string> {
  const uuid = randomUUID();
  await node.launch({
    uuid,
    name: id,
    flavor: { vcpus: 1, memoryMb: 160, rootGb: 1 },
    image: { id, diskFormat: 'qcow2', source: { type: 'file', path } },
    networks: [],
  });
  await host.booted(uuid);
  return uuid;
}

/** Until the guest has said that it is up, for QEMU with that image as its disk. */
async function bootByQemu(path: string): Promise<void> {
  const drive = `file=${path},format=qcow2,if=virtio,snapshot=on`;
  const words = ['-nodefaults', '-display', 'none', '-accel', 'tcg', '-m', '160', '-serial', 'stdio'];
  const qemu = spawn('qemu-system-x86_64', [...words, '-drive', drive], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    let output = '';
    for await (const text of qemu.stdout.setEncoding('utf8')) {
      output += text;
      if (output.includes('"event":"BOOTED"')) return;
    }
    throw new Error(`QEMU ended before the guest was up:\n${output.slice(-2000)}`);
  } finally {
    qemu.kill('SIGKILL');
  }
}

it('compressed by zstd', async () => {
  const uuid = await boot('original', GUEST_IMAGE);
  await node.shutdown(uuid);
  const flat = join(host.instancesPath, 'flat.qcow2');
  await convertImage(
    [
      { path: join(host.instancesPath, uuid, 'disk'), format: 'qcow2' },
      { path: join(host.instancesPath, '_base', sha1('original')), format: 'raw' },
    ],
    flat,
    { format: 'qcow2', compression: 'zstd' },
  );
  await bootByQemu(flat);
  await node.terminate(uuid);
  await node.terminate(await boot('flat', flat));
});
