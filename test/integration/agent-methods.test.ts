// Every method of Nova's RPC to compute hosts is served, or ends in words that its caller or user understands.
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { RemoteError } from '../../src/agent/errors.js';
import { type CommandBench, commandBench, obstacle } from '../agent/command-bench.js';
import { CALLS, CASTS } from '../agent/compute-rpc.js';

let bench: CommandBench;

beforeAll(async () => {
  if (!obstacle) bench = await commandBench();
}, 120_000);
beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));
afterAll(() => bench?.close());

const page = readFileSync(new URL('../../docs/agent.md', import.meta.url), 'utf8');

/** The methods of the page's rows whose last cell is so. */
function documented(is: (answer: string) => boolean): string[] {
  const [, section = ''] = /^## Every method of Nova's RPC$([\s\S]*?)^#/m.exec(page) ?? [];
  return [...section.matchAll(/^\| (`.*`) \| (.*) \|$/gm)].flatMap(([, names = '', answer = '']) =>
    is(answer) ? [...names.matchAll(/`(\w+)`/g)].map(([, name = '']) => name) : [],
  );
}

const outcome = async (call: Promise<unknown>): Promise<unknown> =>
  await call.then(
    () => undefined,
    (error: unknown) => (error instanceof RemoteError ? error.remote.class : error),
  );

it('the page has each of them, once', () => {
  expect(documented(() => true).sort()).toEqual([...CALLS, ...CASTS].sort());
});

it('none is unknown', async () => {
  for (const method of [...CALLS, ...CASTS]) {
    const answer = String(await outcome(bench.call(method, {})));
    expect(answer, method).not.toMatch(/NoSuchMethod|UnsupportedVersion|TIMEOUT/);
  }
  expect(await outcome(bench.call('no_such_method', {}))).toBe('NoSuchMethod');
});

it('a call that is not supported is an exception of its own', async () => {
  const calls = documented((answer) => answer.startsWith('not supported')).filter((name) =>
    (CALLS as readonly string[]).includes(name),
  );
  expect(calls.length).toBeGreaterThan(10);
  const known = /^(NotImplementedError|MigrationPreCheckError)$/;
  for (const method of calls) expect(await outcome(bench.call(method, {})), method).toMatch(known);
  const instance = await bench.server('0b1c2d3e-0000-4000-8000-000000000001');
  const console = bench.call('get_vnc_console', { console_type: 'novnc', instance });
  expect(await outcome(console)).toBe('ConsoleTypeUnavailable');
  expect(await bench.call('inject_network_info', { instance })).toBeNull();
});

it('a cast that is not supported is a fault', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000002';
  const instance = await bench.server(uuid);
  const { conductor } = bench;
  const casts = documented((answer) => answer.startsWith('not supported')).filter((name) =>
    (CASTS as readonly string[]).includes(name),
  );
  expect(casts.length).toBeGreaterThan(10);
  for (const method of casts) {
    conductor.written.length = 0;
    await bench.cast(method, { instance });
    expect(conductor.finished(`compute_${method}`).at(-1)?.failure, method).toContain('does not support');
    const fault = conductor.written.find(({ object }) => object === 'InstanceFault');
    expect(fault?.fields['message'], method).toContain(method);
  }
  expect(conductor.instance(uuid).get('vm_state')).toBe('active');
});

it('it ends the task that it was given, and no other', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000003';
  const instance = await bench.server(uuid);
  const stored = bench.conductor.instance(uuid);
  stored.set('task_state', 'image_uploading');
  await bench.cast('detach_volume', { instance });
  expect(stored.get('task_state')).toBe('image_uploading');
  stored.set('task_state', 'migrating');
  await bench.cast('live_migration', { instance });
  expect(stored.get('task_state')).toBeNull();
});
