// Snapshots of real guests into a real Glance: what the guest wrote is in the image, it ran on meanwhile, and what boots from it has it.
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { ComputeNode, GlanceImageService, type NodeEvent, type SnapshotStep } from '../../src/index.js';
import { type } from '../support/guest-console.js';
import { eventually, GUEST_IMAGE, TestHost } from '../support/host.js';

const obstacle = PrivateGlance.obstacle();
const host = new TestHost();
let glance: PrivateGlance | undefined;
let node: ComputeNode;
let uuid = '';
const events: NodeEvent[] = [];

beforeAll(async () => {
  if (!obstacle) {
    const directory = join(host.directory, 'glance');
    mkdirSync(directory);
    glance = await PrivateGlance.start(directory);
  }
  node = await ComputeNode.open({
    instancesPath: host.instancesPath,
    driverOptions: {
      root: host.root,
      ...(glance && { images: { glance: { endpoints: [glance.url] } } }),
    },
  });
  void (async () => {
    for await (const event of node.events()) events.push(event);
  })();
  uuid = await boot({ id: 'original', path: GUEST_IMAGE });
  await eventually('the agent', 30_000, () =>
    node.guests.pingAgent(uuid).then(
      () => true,
      () => false,
    ),
  );
}, 180_000);

afterAll(async () => {
  await node?.close();
  await glance?.stop();
  host.dispose();
});

type Source = { readonly id: string; readonly path?: string };

async function boot({ id, path }: Source): Promise<string> {
  const { instance } = await node.launch({
    name: id,
    flavor: { vcpus: 1, memoryMb: 160, rootGb: 1 },
    image: {
      id,
      diskFormat: 'qcow2',
      source: path === undefined ? { type: 'glance' } : { type: 'file', path },
      properties: { hw_qemu_guest_agent: 'yes', os_distro: 'busybox', img_signature: 'of the original' },
    },
    networks: [],
  });
  await host.booted(instance.uuid);
  return instance.uuid;
}

async function inGuest(guest: string, line: string, expected: RegExp): Promise<string> {
  const console = await node.guests.openConsole(guest);
  try {
    return await type(console, line, expected);
  } finally {
    console.destroy();
    if (!console.closed) await once(console, 'close');
  }
}

const agentDid = (): string[] => [
  ...(host.consoleText(uuid).match(/(?<="event":"AGENT","did":")(?:freeze|thaw)/g) ?? []),
];

const leftovers = (): string[] =>
  readdirSync(join(host.instancesPath, uuid)).filter((name) => name.startsWith('snapshot'));

it('of a running guest: frozen for a moment, uploaded, and what boots from it has what the guest wrote', async ({
  skip,
}) => {
  if (!glance) return skip(obstacle);
  await inGuest(uuid, 'mark kept-in-the-image && echo marked $((40 + 2))', /marked 42/);
  const before = events.length;
  const domainId = (await node.list()).find((one) => one.uuid === uuid);
  const steps: SnapshotStep[] = [];
  const result = await node.snapshot(
    uuid,
    { type: 'glance', name: 'the snapshot' },
    { onProgress: ({ step }) => steps.at(-1) !== step && steps.push(step) },
  );
  expect(steps).toEqual(['copy', 'quiesce', 'convert', 'upload']);
  expect(result).toMatchObject({ how: 'live', format: 'qcow2', quiesced: true, virtualSizeBytes: 2 ** 30 });
  expect(agentDid().slice(-2)).toEqual(['freeze', 'thaw']);
  expect(events.slice(before).filter((event) => event.type === 'lifecycle')).toEqual([]);
  expect((await node.get(uuid)).powerState).toBe(domainId?.powerState);
  const { imageId = '' } = result;
  const record = (await (await fetch(`${glance.url}/v2/images/${imageId}`)).json()) as Record<
    string,
    unknown
  >;
  expect(record).toMatchObject({
    status: 'active',
    name: 'the snapshot',
    disk_format: 'qcow2',
    container_format: 'bare',
    min_disk: 1,
    size: result.sizeBytes,
    os_hash_value: result.checksum.value,
    image_type: 'snapshot',
    instance_uuid: uuid,
    base_image_ref: 'original',
    hw_qemu_guest_agent: 'yes',
    os_distro: 'busybox',
  });
  expect(record['img_signature']).toBeUndefined();
  expect(leftovers()).toEqual([]);
  const second = await boot({ id: imageId });
  expect(await inGuest(second, 'readmark', /kept-in-the-image\r/)).toMatch(/kept/);
  await node.terminate(second);
}, 180_000);

it('never stops the guest: what it prints comes without a gap', async () => {
  const console = await node.guests.openConsole(uuid);
  const arrivals: number[] = [];
  console.on('data', () => arrivals.push(performance.now()));
  console.write('i=0; while [ $i -lt 4000 ]; do i=$((i+1)); echo tick $i; done\n');
  await eventually('the first ticks', 30_000, () => arrivals.length > 50);
  const from = performance.now();
  const target = host.snapshotTarget();
  const { pauseMs, stepsMs } = await node.snapshot(uuid, target);
  const longest = (times: readonly number[]): number =>
    Math.max(...times.map((at, index) => at - (times[index - 1] ?? at)));
  const during = arrivals.filter((at) => at >= from);
  // What the machine itself is late by under load is in both.
  const most = Math.max(2_000, 10 * longest(arrivals.filter((at) => at < from)));
  expect({ longest: longest(during), pauseMs, stepsMs }).toSatisfy(() => longest(during) < most);
  expect(during.length).toBeGreaterThan(3);
  console.destroy();
  await once(console, 'close');
  await inGuest(uuid, '', /guest# $/);
}, 90_000);

it('into a record that was made for it, whose own properties stay', async ({ skip }) => {
  if (!glance) return skip(obstacle);
  const its = { owner_note: 'stays', image_type: 'backup', base_image_ref: 'the first' };
  const imageId = await glance.add({ name: 'made by an API', min_ram: 64, ...its });
  const result = await node.snapshot(uuid, { type: 'glance', imageId }, { compression: 'zlib' });
  expect(result.imageId).toBe(imageId);
  await using service = new GlanceImageService({ endpoints: [glance.url] });
  expect(await service.getImage(imageId)).toMatchObject({
    name: 'made by an API',
    diskFormat: 'qcow2',
    minDiskGb: 1,
    sizeBytes: result.sizeBytes,
    checksum: result.checksum,
  });
  const record = (await (await fetch(`${glance.url}/v2/images/${imageId}`)).json()) as Record<
    string,
    unknown
  >;
  expect(record).toMatchObject({ ...its, instance_uuid: uuid });
  const again = node.snapshot(uuid, { type: 'glance', imageId });
  await expect(again).rejects.toMatchObject({ code: 'INVALID_STATE' });
  const unknown = { type: 'glance', imageId: '00000000-0000-4000-8000-000000000000' } as const;
  await expect(node.snapshot(uuid, unknown)).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
});

it('discards a record that it did not fill, of an instance that is gone too; an image that is whole stays', async ({
  skip,
}) => {
  if (!glance) return skip(obstacle);
  const { url } = glance;
  const status = async (id: string): Promise<number> => (await fetch(`${url}/v2/images/${id}`)).status;
  for (const owner of [uuid, '00000000-0000-4000-8000-00000000000f']) {
    const queued = await glance.add({ name: 'made by an API' });
    await node.discardSnapshot(owner, queued);
    await node.discardSnapshot(owner, queued);
    expect(await status(queued)).toBe(404);
  }
  const whole = await glance.add({ name: 'made by an API' });
  await node.snapshot(uuid, { type: 'glance', imageId: whole });
  await node.discardSnapshot(uuid, whole);
  expect(await status(whole)).toBe(200);
});

it('removes the record that it made where it is aborted, at each step', async ({ skip }) => {
  if (!glance) return skip(obstacle);
  const { url } = glance;
  const count = async (): Promise<number> =>
    ((await (await fetch(`${url}/v2/images`)).json()) as { images: unknown[] }).images.length;
  const before = await count();
  for (const at of ['copy', 'quiesce', 'convert', 'upload'] as const) {
    const controller = new AbortController();
    const onProgress = ({ step }: { readonly step: SnapshotStep }) => step === at && controller.abort();
    const call = node.snapshot(uuid, { type: 'glance' }, { signal: controller.signal, onProgress });
    await expect(call, at).rejects.toMatchObject({ code: 'ABORTED' });
    expect(await count(), at).toBe(before);
    expect(leftovers()).toEqual([]);
  }
}, 60_000);

it('at rest, stopped or suspended, with its disk locked', async () => {
  const { virtualSizeBytes } = await node.snapshot(uuid, host.snapshotTarget(), { format: 'raw' });
  await node.suspend(uuid);
  const suspended = await node.snapshot(uuid, host.snapshotTarget());
  expect(suspended).toMatchObject({ how: 'cold', pauseMs: 0, virtualSizeBytes });
  expect((await node.get(uuid)).powerState).toBe('suspended');
  await node.resume(uuid);
  await node.shutdown(uuid, { shutdownTimeoutMs: 0 });
  const target = host.snapshotTarget();
  const cold = node.snapshot(uuid, target);
  expect(await cold).toMatchObject({ how: 'cold', path: target.path });
  await node.start(uuid);
  const second = await boot({ id: 'cold', path: target.path });
  expect(
    await inGuest(second, 'readmark || echo no $((1 + 1))', obstacle ? /no 2/ : /kept-in-the-image\r/),
  ).not.toBe('');
  await node.terminate(second);
}, 180_000);

it('where the image demands it, a guest that cannot be frozen is a failure before anything is copied', async () => {
  const { instance } = await node.launch({
    name: 'strict',
    flavor: { vcpus: 1, memoryMb: 160, rootGb: 1 },
    image: {
      id: 'original',
      diskFormat: 'qcow2',
      source: { type: 'file', path: GUEST_IMAGE },
      properties: { os_require_quiesce: 'yes' },
    },
    networks: [],
  });
  const target = host.snapshotTarget();
  const refused = node.snapshot(instance.uuid, target);
  await expect(refused).rejects.toMatchObject({ code: 'AGENT_UNAVAILABLE', details: { reason: 'none' } });
  expect(existsSync(target.path)).toBe(false);
  await node.terminate(instance.uuid);
});

it('leaves nothing when the instance is terminated meanwhile', async () => {
  const target = host.snapshotTarget();
  let terminated: Promise<void> | undefined;
  const call = node.snapshot(uuid, target, {
    onProgress: ({ step }) => {
      if (step === 'convert') terminated ??= node.terminate(uuid);
    },
  });
  await expect(call).rejects.toSatisfy((error) => ['ABORTED', 'INSTANCE_NOT_FOUND'].includes(error.code));
  await terminated;
  expect(existsSync(target.path)).toBe(false);
  expect(readdirSync(join(host.directory, 'snapshots')).filter((name) => name.endsWith('.part'))).toEqual([]);
  expect(host.remains()).toEqual([]);
});
