// What the agent does with the system in a guest: its screen for users, its password, its crash dump.
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { RemoteError } from '../../src/agent/errors.js';
import {
  ComputeError,
  type ConsoleEndpoint,
  type DriverCapabilities,
  FakeDriver,
  type FakeDriverOptions,
  type Instance,
  registerDriver,
} from '../../src/index.js';
import { type CommandBench, commandBench, obstacle } from '../agent/command-bench.js';

const PORT = 5907;
const BASE = 'https://cloud.example.org:6080/vnc_lite.html';
/** By uuid: what the guest's agent was told, or what it answers. */
const passwords = new Map<string, string | ComputeError>();

/** Guests that have a screen, and an agent. */
class GuestDriver extends FakeDriver {
  override readonly capabilities: DriverCapabilities = {
    ...new FakeDriver().capabilities,
    remoteConsole: true,
    guestAgent: true,
  };

  override async getVncConsole(uuid: string): Promise<ConsoleEndpoint> {
    if (this.hypervisor.domains.get(uuid)?.state !== 'running') {
      throw new ComputeError('INVALID_STATE', 'it does not run', { instanceUuid: uuid });
    }
    return { type: 'vnc', host: '0.0.0.0', port: PORT };
  }

  override async setAdminPassword({ uuid }: Instance, password: string): Promise<void> {
    const failure = passwords.get(uuid);
    if (failure instanceof ComputeError) throw failure;
    passwords.set(uuid, password);
  }
}

let bench: CommandBench;

beforeAll(async () => {
  if (obstacle) return;
  registerDriver('test.GuestDriver', async (options) => new GuestDriver(options as FakeDriverOptions));
  const vnc = { novncProxyBaseUrl: BASE, proxyClientAddress: '192.0.2.7', tokenTtlSeconds: 120 };
  bench = await commandBench({ vnc, node: { driver: 'test.GuestDriver' } });
}, 120_000);
beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));
afterAll(() => bench?.close());

/** The exception, and the words of its message. */
async function failure(call: Promise<unknown>): Promise<unknown> {
  const error = await call.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  return error instanceof RemoteError ? [error.remote.class, error.remote.kwargs] : error;
}

it('a user gets a console by a token that leads the proxy to the port of the guest', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000001';
  const instance = await bench.server(uuid);
  const given = (await bench.call('get_vnc_console', { console_type: 'novnc', instance })) as {
    readonly token: string;
  };
  const { conductor } = bench;
  const [[token, stored] = []] = conductor.tokens;
  expect(given).toEqual({
    host: '192.0.2.7',
    port: PORT,
    internal_access_path: null,
    token,
    access_url: `${BASE}?path=%3Ftoken%3D${token}`,
  });
  expect(stored).toEqual({
    seconds: 120,
    fields: {
      console_type: 'novnc',
      host: '192.0.2.7',
      port: PORT,
      internal_access_path: null,
      instance_uuid: uuid,
      access_url_base: BASE,
    },
  });
  expect(conductor.cleanings).toBe(1);
  const check = (port: unknown, type = 'novnc'): Promise<unknown> =>
    bench.call('validate_console_port', { instance, port, console_type: type });
  expect(await check(String(PORT))).toBe(true);
  expect(await check('22')).toBe(false);
  expect(await check(String(PORT), 'serial')).toBe(false);

  await bench.agent.node.shutdown(uuid, { shutdownTimeoutMs: 0 });
  expect(await failure(bench.call('get_vnc_console', { console_type: 'novnc', instance }))).toEqual([
    'InstanceNotReady',
    { instance_id: uuid },
  ]);
  expect(await check(String(PORT))).toBe(false);
  expect(conductor.tokens.size).toBe(1);
});

it('the tokens of a server go with it, and no other', async () => {
  const { conductor } = bench;
  conductor.tokens.clear();
  const [first, second] = ['0b1c2d3e-0000-4000-8000-0000000000a1', '0b1c2d3e-0000-4000-8000-0000000000a2'];
  for (const uuid of [first, second]) {
    const instance = await bench.server(uuid);
    await bench.call('get_vnc_console', { console_type: 'novnc', instance });
    await bench.call('get_vnc_console', { console_type: 'novnc', instance });
  }
  const instance = conductor.asked(first, { task_state: 'deleting' });
  await bench.cast('terminate_instance', { instance, bdms: [] });
  expect([...conductor.tokens.values()].map(({ fields }) => fields['instance_uuid'])).toEqual([
    second,
    second,
  ]);
  expect(conductor.instances.has(first)).toBe(false);
});

it('consoles that this host has not are the exceptions that the API knows', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000002';
  const instance = await bench.server(uuid);
  for (const type of ['spice', 'rdp', 'serial', 'mks']) {
    const call = bench.call(`get_${type}_console`, { console_type: type, instance });
    expect(await failure(call)).toEqual(['ConsoleTypeUnavailable', { console_type: type }]);
  }
  const old = bench.call('get_vnc_console', { console_type: 'xvpvnc', instance });
  expect(await failure(old)).toEqual(['ConsoleTypeInvalid', { console_type: 'xvpvnc' }]);
  const absent = '0b1c2d3e-0000-4000-8000-00000000000f';
  instance.set('uuid', absent);
  const ask = (): Promise<unknown> =>
    failure(bench.call('get_vnc_console', { console_type: 'novnc', instance }));
  expect(await ask()).toEqual(['InstanceNotFound', { instance_id: absent }]);
  instance.set('vm_state', 'building');
  expect(await ask()).toEqual(['InstanceNotReady', { instance_id: absent }]);
});

it('a password is set by the agent in the guest; where it cannot be, the user reads why and no state changes', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000003';
  const instance = await bench.server(uuid);
  const { conductor } = bench;
  const stored = conductor.instance(uuid);
  const set = (): Promise<unknown> => {
    stored.set('task_state', 'updating_password');
    return bench.call('set_admin_password', { instance, new_pass: 'open-sesame' });
  };
  expect(await set()).toBeNull();
  expect(passwords.get(uuid)).toBe('open-sesame');
  expect(conductor.finished('compute_set_admin_password').at(-1)?.failure).toBeUndefined();
  expect(stored.get('task_state')).toBeNull();

  const about = { instanceUuid: uuid };
  const cases = [
    [new ComputeError('AGENT_UNAVAILABLE', 'no channel', about), 'InstanceAgentNotEnabled'],
    [new ComputeError('AGENT_FAILED', 'no such user', about), 'InstancePasswordSetFailed'],
    [new ComputeError('INVALID_STATE', 'it is stopped', about), 'InstancePasswordSetFailed'],
    [new ComputeError('UNSUPPORTED', 'not here', about), 'SetAdminPasswdNotSupported'],
  ] as const;
  for (const [error, name] of cases) {
    passwords.set(uuid, error);
    conductor.written.length = 0;
    expect(await failure(set())).toEqual([name, expect.anything()]);
    expect([stored.get('vm_state'), stored.get('task_state')]).toEqual(['active', null]);
    expect(conductor.written.filter(({ object }) => object === 'Instance').at(-1)?.fields).toEqual({
      task_state: null,
    });
    expect(JSON.stringify(conductor.events)).not.toContain('open-sesame');
  }
});

it('a crash dump is asked for, and no task of the server changes', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000004';
  const instance = await bench.server(uuid, { task_state: 'image_uploading' });
  const failed = (): unknown => bench.conductor.finished('compute_trigger_crash_dump').at(-1)?.failure;
  await bench.cast('trigger_crash_dump', { instance });
  expect(failed()).toBeUndefined();
  expect(bench.hypervisor.domains.get(uuid)?.console).toContain('NMI');
  await bench.agent.node.shutdown(uuid, { shutdownTimeoutMs: 0 });
  await bench.cast('trigger_crash_dump', { instance });
  expect(failed()).toContain('not running');
  expect(bench.conductor.instance(uuid).get('task_state')).toBe('image_uploading');
});
