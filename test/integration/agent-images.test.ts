// Commands that name an image by its id: what Glance says of it comes to the node, and the image to the guest.
import { existsSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { NovaObject } from '../../src/agent/nova-object.js';
import { type CommandBench, commandBench, IMAGE, obstacle } from '../agent/command-bench.js';
import { glanceAnswer } from '../support/fake-cloud.js';

const RESCUE = '3f0c5a7e-1b2d-4e6f-8a9b-0c1d2e3f4a51';
const OTHER = '3f0c5a7e-1b2d-4e6f-8a9b-0c1d2e3f4a52';
const QUEUED = '3f0c5a7e-1b2d-4e6f-8a9b-0c1d2e3f4a53';
const ABSENT = '3f0c5a7e-1b2d-4e6f-8a9b-0c1d2e3f4a54';
const images = new Map(
  [
    glanceAnswer({ id: RESCUE }),
    glanceAnswer({ id: OTHER }),
    glanceAnswer({ id: QUEUED, status: 'queued' }),
  ].map((image) => [String(image['id']), image]),
);

let glance: Server;
let bench: CommandBench;

beforeAll(async () => {
  if (obstacle) return;
  glance = createServer((request, response) => {
    const image = images.get(request.url?.split('/').at(-1) ?? '');
    response.writeHead(image ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(image ?? {}));
  });
  await new Promise<void>((resolve) => glance.listen(0, '127.0.0.1', resolve));
  const endpoint = `http://127.0.0.1:${(glance.address() as AddressInfo).port}`;
  bench = await commandBench({}, { images: { glance: { endpoints: [endpoint] } } });
}, 120_000);
beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));
afterAll(async () => {
  await bench?.close();
  glance?.close();
});

it('images are cached one by one, each with a word of its own', async () => {
  const ids = [RESCUE, QUEUED, OTHER, ABSENT, '../images', RESCUE];
  expect(await bench.call('cache_images', { image_ids: ids })).toEqual({
    [RESCUE]: 'cached',
    [OTHER]: 'cached',
    [QUEUED]: 'error',
    [ABSENT]: 'error',
    '../images': 'error',
  });
  expect(await bench.call('cache_images', { image_ids: [OTHER] })).toEqual({ [OTHER]: 'existing' });
  expect(await bench.call('cache_images', { image_ids: null })).toEqual({});
});

const failure = (event: string): unknown => bench.conductor.finished(event).at(-1)?.failure;
const file = (instance: NovaObject, name: string): string =>
  join(bench.instancesPath, String(instance.get('uuid')), name);

async function rescue(instance: NovaObject, image: string | null): Promise<void> {
  bench.conductor.instance(String(instance.get('uuid'))).set('task_state', 'rescuing');
  await bench.cast('rescue_instance', {
    instance,
    rescue_password: 'open-sesame',
    rescue_image_ref: image,
    clean_shutdown: false,
  });
}

it('a rescue boots the image that the user names; its drive has the password', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000001';
  const launch = { configDrive: { adminPassword: 'of-the-build' } };
  const instance = await bench.server(uuid, { config_drive: 'True', task_state: 'rescuing' }, launch);
  await rescue(instance, RESCUE);
  expect(failure('compute_rescue_instance')).toBeUndefined();
  expect(bench.hypervisor.rescued.get(uuid)).toBe(RESCUE);
  expect(bench.conductor.instance(uuid).get('vm_state')).toBe('rescued');
  const tells = (name: string): boolean =>
    readFileSync(file(instance, name), 'latin1').includes('open-sesame');
  expect([tells('disk.config.rescue'), tells('disk.config')]).toEqual([true, false]);

  bench.conductor.instance(uuid).set('task_state', 'unrescuing');
  await bench.cast('unrescue_instance', { instance });
  expect(bench.hypervisor.rescued.has(uuid)).toBe(false);
  expect(existsSync(file(instance, 'disk.config.rescue'))).toBe(false);
  expect(bench.conductor.instance(uuid).get('vm_state')).toBe('active');
});

it('without an image it boots the one that its own goes back to; without a drive it gets none', async () => {
  const own = await bench.server('0b1c2d3e-0000-4000-8000-000000000002');
  await rescue(own, null);
  expect(bench.hypervisor.rescued.get(String(own.get('uuid')))).toBe(IMAGE);
  expect(existsSync(file(own, 'disk.config.rescue'))).toBe(false);

  const metadata = { image_base_image_ref: OTHER };
  const uuid = '0b1c2d3e-0000-4000-8000-000000000003';
  const derived = await bench.server(uuid, { system_metadata: metadata });
  await rescue(derived, null);
  expect(bench.hypervisor.rescued.get(uuid)).toBe(OTHER);
});

it('an image that Glance does not have leaves the server as it was', async () => {
  const uuid = '0b1c2d3e-0000-4000-8000-000000000004';
  const instance = await bench.server(uuid);
  await rescue(instance, ABSENT);
  expect(failure('compute_rescue_instance')).toContain(ABSENT);
  const stored = bench.conductor.instance(uuid);
  expect([stored.get('vm_state'), stored.get('task_state')]).toEqual(['active', null]);
  expect((await bench.agent.node.get(uuid)).vmState).toBe('active');
  expect(bench.hypervisor.rescued.has(uuid)).toBe(false);
});
