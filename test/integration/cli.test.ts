// The built command line, as a person and a script call it, on a real guest.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const golden = fileURLToPath(new URL('../golden/minimal.json', import.meta.url));
let host: TestHost;

beforeAll(() => {
  host = new TestHost();
});
afterAll(() => host.dispose());

interface Result {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

async function cli(...args: string[]): Promise<Result> {
  const env = {
    ...process.env,
    NODE_COMPUTE_INSTANCES_PATH: host.instancesPath,
    NODE_COMPUTE_ROOT: host.root,
  };
  const child = spawn(process.execPath, [main, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data: Buffer) => (stdout += data.toString()));
  child.stderr.on('data', (data: Buffer) => (stderr += data.toString()));
  return await new Promise((resolve) => child.on('close', (status) => resolve({ status, stdout, stderr })));
}

async function json(...args: string[]): Promise<Result & { readonly value: Record<string, unknown> }> {
  const result = await cli(...args, '--json');
  expect(result.stdout.trim().split('\n'), result.stderr).toHaveLength(1);
  return { ...result, value: JSON.parse(result.stdout) };
}

describe('an instance by command line', () => {
  const flags = ['--image', GUEST_IMAGE, '--memory', '128', '--disk', '1'];

  it('is launched, shown, stopped, started, rebooted and terminated', async () => {
    const userData = join(host.directory, 'user-data');
    writeFileSync(userData, '#cloud-config\n');
    const launched = await cli(
      'launch',
      '--name',
      'cli',
      ...flags,
      ...['--ephemeral', '1', '--swap', '16'],
      ...['--config-drive', 'nocloud', '--user-data', userData, '--meta', 'role=web'],
      '--network',
      host.bridge,
      '--wait-for',
      'BOOTED',
    );
    expect(launched.status, launched.stderr).toBe(0);
    for (const step of ['claim', 'image', 'definition', 'start']) expect(launched.stdout).toContain(step);

    const { value } = await json('show', 'cli');
    expect(value).toMatchObject({ ok: true, instance: { displayName: 'cli', powerState: 'running' } });
    const { uuid } = value['instance'] as { uuid: string };
    expect((await cli('list')).stdout).toContain(uuid);
    expect((await json('report')).value).toMatchObject({
      ok: true,
      report: { node: { runningInstances: 1 }, instances: [{ uuid, powerState: 'running' }] },
    });
    expect((await cli('report')).stdout).toMatch(/^cli +instance-\w+ +running /m);
    expect((await cli('console', uuid.slice(0, 8))).stdout).toContain('"event":"BOOTED"');
    const guest = await host.booted(uuid);
    expect(guest.disks.slice(0, 3).map(({ bytes }) => bytes / 2 ** 20)).toEqual([1024, 1024, 16]);
    const userDataSha256 = createHash('sha256').update('#cloud-config\n').digest('hex');
    expect(guest.configDrive).toEqual({ uuid, userDataSha256 });

    const { data } = host.volume() as { data: { path: string } };
    const attach = ['volume', 'attach', 'cli', '--file', data.path, '--serial', 'one', '--device', 'vdf'];
    expect((await json(...attach)).value).toMatchObject({ ok: true, volume: { device: 'vdf' } });
    await host.sees(uuid, 'the volume', ({ disks }) => disks.some(({ serial }) => serial === 'one'));
    expect((await cli('volume', 'extend', 'cli', 'vdf', '8M')).status).toBe(0);
    const network = await json('interface', 'attach', 'cli', '--bridge', host.bridge);
    const { mac } = network.value['vif'] as { mac: string };
    await host.sees(uuid, '8 MiB', ({ disks, macs }) => disks[3]?.bytes === 2 ** 23 && macs.includes(mac));
    expect((await cli('show', 'cli')).stdout).toMatch(/volumes[ │]+vdf/);
    expect((await cli('interface', 'detach', 'cli', mac)).status).toBe(0);
    expect((await json('volume', 'detach', 'cli', 'vdf')).value).toEqual({ ok: true, uuid, device: 'vdf' });
    const gone = await json('volume', 'detach', 'cli', 'vdf');
    expect(gone).toMatchObject({ status: 1, value: { error: { code: 'DEVICE_NOT_FOUND' } } });

    const image = `${host.directory}/snapshot.qcow2`;
    const taken = await json('snapshot', 'cli', '--file', image, '--compression', 'zlib');
    expect(taken.value).toMatchObject({ ok: true, uuid, path: image, how: 'live', format: 'qcow2' });
    expect(statSync(image).size).toBe(taken.value['sizeBytes']);
    expect(await json('snapshot', 'cli', '--file', image)).toMatchObject({ status: 1 });

    expect((await json('stop', 'cli', '--timeout', '0')).value).toEqual({ ok: true, uuid });
    expect((await json('show', 'cli')).value).toMatchObject({ instance: { powerState: 'shutdown' } });
    expect((await cli('start', 'cli')).status).toBe(0);
    expect((await cli('reboot', 'cli', '--hard')).status).toBe(0);
    expect((await json('show', 'cli')).value).toMatchObject({ instance: { powerState: 'running' } });

    expect((await json('suspend', 'cli')).value).toEqual({ ok: true, uuid });
    expect((await json('show', 'cli')).value).toMatchObject({ instance: { powerState: 'suspended' } });
    expect((await json('resume', 'cli')).value).toEqual({ ok: true, uuid });
    expect((await json('crash-dump', 'cli')).value).toEqual({ ok: true, uuid });
    expect((await json('diagnostics', 'cli')).value).toMatchObject({
      uuid,
      diagnostics: { state: 'running', numDisks: 4 },
    });
    expect((await cli('console-url', 'cli')).stdout).toMatch(/^vnc:\/\/127\.0\.0\.1:\d+\n$/);
    const resize = ['resize', 'cli', '--memory', '160', '--disk', '2', '--timeout', '0'];
    expect((await json(...resize)).value).toMatchObject({
      instance: { flavor: { vcpus: 1, memoryMb: 160, rootGb: 2 }, resize: { phase: 'verify' } },
    });
    expect((await cli('list')).stdout).toContain('running, resize: verify');
    expect((await cli('show', 'cli')).stdout).toMatch(/resize +. verify/);
    expect((await json('revert-resize', 'cli')).value).toEqual({ ok: true, uuid });
    expect((await json('resize', 'cli', '--live', '--vcpus', '2')).value).toMatchObject({
      error: { code: 'INVALID_STATE', details: { most: 1 } },
    });
    expect((await cli(...resize)).status).toBe(0);
    expect((await json('confirm-resize', 'cli')).value).toEqual({ ok: true, uuid });
    expect((await json('show', 'cli')).value).toMatchObject({
      instance: { powerState: 'running', flavor: { memoryMb: 160, rootGb: 2 } },
    });
    const picture = `${host.directory}/screen`;
    expect((await json('screenshot', 'cli', picture)).value).toMatchObject({ ok: true, file: picture });
    expect(statSync(picture).size).toBeGreaterThan(1000);
    expect((await json('agent-ping', 'cli')).value).toMatchObject({
      error: { code: 'AGENT_UNAVAILABLE', details: { reason: 'none' } },
    });

    expect((await cli('rescue', 'cli', '--timeout', '0')).status).toBe(0);
    expect((await json('show', 'cli')).value).toMatchObject({ instance: { vmState: 'rescued' } });
    expect((await cli('unrescue', 'cli')).status).toBe(0);
    const other = ['--image', GUEST_IMAGE, '--image-id', 'other', '--timeout', '0'];
    const rebuilt = await json('rebuild', 'cli', ...other, '--preserve-ephemeral');
    expect(rebuilt.value).toMatchObject({ ok: true, uuid });
    expect((await json('show', 'cli')).value).toMatchObject({
      instance: { imageId: 'other', vmState: 'active' },
    });
    expect((await cli('rebuild', 'cli')).status).toBe(2);

    expect((await cli('terminate', 'cli')).status).toBe(0);
    expect((await json('list')).value).toEqual({ ok: true, instances: [] });
    expect(host.remains()).toEqual([]);
  });

  it('fails as JSON with a code and status 1', async () => {
    const missing = await json('show', 'nobody');
    expect(missing).toMatchObject({ status: 1, value: { ok: false, error: { code: 'INSTANCE_NOT_FOUND' } } });
    const refused = await json('launch', ...flags, '--vcpus', '512');
    expect(refused).toMatchObject({ status: 1, value: { ok: false, error: { code: 'CLAIM_REFUSED' } } });
    expect(host.remains()).toEqual([]);
  });

  it('is not touched by a second process, which is told who holds the node', async () => {
    const holder = cli('launch', '--name', 'holder', ...flags, '--wait-for', 'BOOTED');
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const second = await json('list');
    expect(second).toMatchObject({ status: 1, value: { error: { code: 'HOST_LOCKED' } } });
    expect((second.value['error'] as { message: string }).message).toMatch(/process \d+|pid \d+/);
    expect((await holder).status).toBe(0);
    expect((await cli('terminate', 'holder')).status).toBe(0);
  });
});

describe('a wrong call', () => {
  it('exits 2, with one JSON object where that is asked for', async () => {
    for (const args of [
      ['no-such-command'],
      ['show'],
      ['list', '--no-such-flag'],
      ['stop', 'x', '--timeout', 'soon'],
      ['launch', '--image', 'x', '--config-drive', 'vfat'],
      ['launch', '--image', 'x', '--user-data', '/no/such/file'],
      ['snapshot', 'x'],
      ['snapshot', 'x', '--file', '/a', '--glance'],
      ['snapshot', 'x', '--file', '/a', '--name', 'b'],
      ['volume', 'attach', 'x'],
      ['volume', 'attach', 'x', '--file', '/a', '--block', '/dev/b'],
      ['volume', 'extend', 'x', 'vdb', 'large'],
      ['resize', 'x', '--live', '--disk', '2'],
    ]) {
      const result = await json(...args);
      expect(result).toMatchObject({ status: 2, value: { ok: false, error: { code: 'INVALID_ARGUMENT' } } });
      expect((await cli(...args)).status).toBe(2);
    }
  });
});

describe('domain-xml', () => {
  it('prints the document, or a typed error with status 1', async () => {
    const printed = await cli('domain-xml', golden);
    expect(printed.status).toBe(0);
    expect(printed.stdout).toMatch(/^<domain type=/);
    expect((await json('domain-xml', golden)).value).toMatchObject({ ok: true });
    const bad = await json('domain-xml', main);
    expect(bad).toMatchObject({ status: 1, value: { ok: false, error: { code: 'INVALID_ARGUMENT' } } });
  });
});

describe('doctor', () => {
  it('says that this host can launch instances, finding by finding', async () => {
    const { status, value } = await json('doctor');
    expect(value).toMatchObject({ ok: true, healthy: true });
    expect(status).toBe(0);
    expect((value['findings'] as unknown[]).length).toBeGreaterThan(8);
  });
});
