// The control plane as a user and an operator see it: Nova's API, and the scripts of the rig.
import { execFileSync, spawn } from 'node:child_process';
import { createReadStream, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, vi } from 'vitest';

const scripts = String(process.env['OPENSTACK_RIG_SCRIPTS']);

export function rig(script: string, ...args: readonly string[]): string {
  return execFileSync(join(scripts, script), args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
}

export const endpoints = JSON.parse(rig('endpoints.sh', '--json')) as Record<
  | 'OS_AMQP_URL'
  | 'OS_COMPUTE_URL'
  | 'OS_PLACEMENT_URL'
  | 'OS_IMAGE_URL'
  | 'OS_TOKEN'
  | 'OS_PLACEMENT_TOKEN'
  | 'RIG_IMAGE_ID',
  string
>;

export interface Server {
  readonly vmState: string;
  readonly taskState: string | null;
  readonly powerState: number;
  readonly host: string | null;
  readonly fault: string | undefined;
}

async function call(method: string, path: string, body?: unknown): Promise<Response> {
  return await fetch(endpoints.OS_COMPUTE_URL + path, {
    method,
    headers: {
      'x-auth-token': endpoints.OS_TOKEN,
      'openstack-api-version': 'compute 2.93',
      'content-type': 'application/json',
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
}

async function json<T>(response: Response): Promise<T> {
  const text = await response.text();
  expect(response.ok, text).toBe(true);
  return JSON.parse(text) as T;
}

export async function boot(name: string, host: string, image: string, flavor: number): Promise<string> {
  const server = { name, imageRef: image, flavorRef: String(flavor), networks: 'none', host };
  const created = await json<{ server: { id: string } }>(await call('POST', '/servers', { server }));
  return created.server.id;
}

/** Undefined: there is none any more. */
export async function show(id: string): Promise<Server | undefined> {
  const response = await call('GET', `/servers/${id}`);
  if (response.status === 404) return undefined;
  const { server } = await json<{ server: Record<string, unknown> }>(response);
  return {
    vmState: String(server['OS-EXT-STS:vm_state']),
    taskState: server['OS-EXT-STS:task_state'] as string | null,
    powerState: Number(server['OS-EXT-STS:power_state']),
    host: server['OS-EXT-SRV-ATTR:host'] as string | null,
    fault: (server['fault'] as { message: string } | undefined)?.message,
  };
}

export async function remove(id: string): Promise<void> {
  const response = await call('DELETE', `/servers/${id}`);
  expect([204, 404]).toContain(response.status);
}

export async function action(id: string, body: object): Promise<Response> {
  const response = await call('POST', `/servers/${id}/action`, body);
  expect(response.ok, `${JSON.stringify(body)}: ${response.status}`).toBe(true);
  return response;
}

/** Until it has no task and is in that state. */
export async function settled(id: string, vmState: string, timeout = 120_000): Promise<Server> {
  // An error stays one: what else is to be seen then is why.
  const server = await vi.waitFor(
    async () => {
      const seen = await show(id);
      if (seen?.vmState !== 'error') expect({ id, ...seen }).toMatchObject({ vmState, taskState: null });
      return seen as Server;
    },
    { timeout, interval: 200 },
  );
  expect({ id, ...server }).toMatchObject({ vmState });
  return server;
}

export async function gone(id: string, timeout = 120_000): Promise<void> {
  await vi.waitFor(async () => expect(await show(id)).toBeUndefined(), { timeout, interval: 200 });
}

export async function consoleOutput(id: string): Promise<string> {
  const response = await action(id, { 'os-getConsoleOutput': {} });
  return (await json<{ output: string }>(response)).output;
}

export async function diagnostics(id: string): Promise<Record<string, unknown>> {
  return await json(await call('GET', `/servers/${id}/diagnostics`));
}

/** What Placement has of a server. */
export async function allocations(id: string): Promise<object> {
  const response = await fetch(`${endpoints.OS_PLACEMENT_URL}/allocations/${id}`, {
    headers: { 'x-auth-token': endpoints.OS_PLACEMENT_TOKEN },
  });
  return (await json<{ allocations: object }>(response)).allocations;
}

export async function upload(name: string, path: string): Promise<string> {
  const images = `${endpoints.OS_IMAGE_URL}/v2/images`;
  const record = { name, disk_format: 'qcow2', container_format: 'bare', visibility: 'public' };
  const created = await json<{ id: string }>(
    await fetch(images, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(record),
    }),
  );
  const put = await fetch(`${images}/${created.id}/file`, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: createReadStream(path),
    duplex: 'half',
  } as unknown as RequestInit);
  expect(put.status).toBe(204);
  return created.id;
}

export async function image(id: string): Promise<{ readonly status: string }> {
  return await json(await fetch(`${endpoints.OS_IMAGE_URL}/v2/images/${id}`));
}

/** With all that was in its queues; the services come back to it by themselves. */
export async function restartBroker(): Promise<void> {
  const directory = process.env['OPENSTACK_RIG'] ?? '/var/tmp/openstack-rig';
  const pid = readFileSync(join(directory, 'run/rabbit.pid'), 'utf8').trim();
  // Its start script and the broker are a process group of their own.
  const group = Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[2]);
  expect(group).toBeGreaterThan(1);
  process.kill(-group, 'SIGKILL');
  await vi.waitFor(() => expect(() => process.kill(-group, 0)).toThrow(), { timeout: 30_000 });
  // Beside this process, which goes on asking. It stays when the tests end: their directory is none of its.
  const { TMPDIR: _ours, ...env } = process.env;
  const up = spawn(join(scripts, 'up.sh'), { stdio: 'ignore', env });
  await new Promise((resolve) => up.once('close', resolve));
  expect(up.exitCode).toBe(0);
}
