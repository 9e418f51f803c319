// A node in a real Placement: a scheduler finds it there, and what its instances have follows launches and terminations.
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import {
  ComputeNode,
  type ComputeNodeOptions,
  FakeHypervisor,
  type PlacementOptions,
  placementSink,
  type ResourceReporter,
} from '../../src/index.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const obstacle = PrivatePlacement.obstacle();
const directory = mkdtempSync(join(tmpdir(), 'nct-placement-'));
const service = join(directory, 'service');
let placement: PrivatePlacement | undefined;
let count = 0;

beforeAll(async () => {
  if (obstacle) return;
  mkdirSync(service);
  placement = await PrivatePlacement.start(service);
});

afterAll(async () => {
  await placement?.stop();
  rmSync(directory, { recursive: true, force: true });
});

let here: PrivatePlacement;
beforeEach(({ skip }) => {
  if (!placement) return skip(obstacle);
  here = placement;
});

const WAIT = { timeout: 30_000, interval: 100 };
const flavor = { vcpus: 2, memoryMb: 1024, rootGb: 3 };
const request = () => ({
  name: 'guest',
  flavor,
  image: {
    id: 'image',
    diskFormat: 'raw' as const,
    source: { type: 'file' as const, path: '/images/image' },
  },
});

const get = async <T>(path: string): Promise<T> => (await here.call('GET', path)) as T;
type Inventories = {
  readonly inventories: Record<string, { total: number; reserved: number; allocation_ratio: number }>;
};
type Allocations = { readonly allocations: Record<string, { readonly resources: Record<string, number> }> };
type Candidates = { readonly provider_summaries: Record<string, unknown> };

async function open(
  options: Partial<ComputeNodeOptions> = {},
  sink: PlacementOptions = {},
  hypervisor = new FakeHypervisor({ hostname: `host-${++count}`, vcpus: 8, memoryMb: 16_384, localGb: 100 }),
): Promise<{ node: ComputeNode; reporter: ResourceReporter; uuid: string; path: string }> {
  const path = options.instancesPath ?? join(directory, `instances-${count}`);
  const node = await ComputeNode.open({
    driver: 'fake.FakeDriver',
    driverOptions: { hypervisor },
    instancesPath: path,
    ...options,
  });
  const reporter = await node.reporter({
    intervalMs: 3_600_000,
    sinkBackoffMs: 50,
    sinks: [placementSink({ endpoint: here.url, auth: { type: 'token', token: here.token }, ...sink })],
  });
  return { node, reporter, uuid: reporter.report.nodeUuid, path };
}

/** All that is told has arrived. */
async function arrived(reporter: ResourceReporter): Promise<void> {
  await reporter.refresh();
  await vi.waitFor(() => {
    expect(reporter.sinks[0]?.error).toBeUndefined();
    expect(reporter.sinks[0]?.sequence).toBe(reporter.report.sequence);
  }, WAIT);
}

/** By consumer. */
async function allocationsOf(uuid: string): Promise<Record<string, Record<string, number>>> {
  const { allocations } = await get<Allocations>(`/resource_providers/${uuid}/allocations`);
  return Object.fromEntries(
    Object.entries(allocations).map(([consumer, { resources }]) => [consumer, resources]),
  );
}

it('the node is a provider that a scheduler finds; what its instances have follows them', async () => {
  const { node, reporter, uuid } = await open({ dedicatedCpus: [6, 7], allocationRatios: { cpu: 16 } });
  await using _node = node;
  await arrived(reporter);
  const { inventories } = await get<Inventories>(`/resource_providers/${uuid}/inventories`);
  expect(inventories).toMatchObject({
    VCPU: { total: 6, reserved: 0, allocation_ratio: 16 },
    PCPU: { total: 2, allocation_ratio: 1 },
    MEMORY_MB: { total: 16_384, reserved: 512, allocation_ratio: 1 },
    DISK_GB: { total: 100 },
  });
  expect(await get(`/resource_providers?name=host-${count}`)).toMatchObject({
    resource_providers: [{ uuid }],
  });
  const candidates = '/allocation_candidates?resources=VCPU:2,MEMORY_MB:15000,DISK_GB:3';
  expect((await get<Candidates>(candidates)).provider_summaries).toHaveProperty(uuid);

  const { instance } = await node.launch({ ...request(), projectId: 'project', userId: 'user' });
  const pinned = await node.launch({
    ...request(),
    flavor: { ...flavor, extraSpecs: { 'hw:cpu_policy': 'dedicated' } },
  });
  await arrived(reporter);
  expect(await allocationsOf(uuid)).toEqual({
    [instance.uuid]: { VCPU: 2, MEMORY_MB: 1024, DISK_GB: 3 },
    [pinned.instance.uuid]: { PCPU: 2, MEMORY_MB: 1024, DISK_GB: 3 },
  });
  expect(await get(`/allocations/${instance.uuid}`)).toMatchObject({
    project_id: 'project',
    user_id: 'user',
    consumer_type: 'NODE_COMPUTE',
  });
  // 15,872 MB may be used: beside the two there is no room any more.
  expect((await get<Candidates>(candidates)).provider_summaries).not.toHaveProperty(uuid);

  await node.terminate(instance.uuid);
  await node.terminate(pinned.instance.uuid);
  await arrived(reporter);
  expect(await allocationsOf(uuid)).toEqual({});
  expect((await get<Candidates>(candidates)).provider_summaries).toHaveProperty(uuid);
});

it('a resize that waits has both sizes, a shelved instance nothing once it has left the host', async () => {
  const { node, reporter, uuid } = await open();
  await using _node = node;
  const { instance } = await node.launch(request());
  const expected = async (resources: Record<string, number> | undefined): Promise<void> => {
    await arrived(reporter);
    expect(await allocationsOf(uuid)).toEqual(resources ? { [instance.uuid]: resources } : {});
  };
  const small = { VCPU: 2, MEMORY_MB: 1024, DISK_GB: 3 };
  const atOnce = { shutdownTimeoutMs: 0 };
  await node.resize(instance.uuid, { vcpus: 3, memoryMb: 2048, rootGb: 4 }, atOnce);
  await expected({ VCPU: 5, MEMORY_MB: 3072, DISK_GB: 7 });
  await node.revertResize(instance.uuid);
  await expected(small);
  await node.rescue(instance.uuid, atOnce);
  await expected(small);
  await node.unrescue(instance.uuid);
  await node.shelve(instance.uuid, atOnce);
  await expected(small);
  await node.shelveOffload(instance.uuid);
  await expected(undefined);
  await node.unshelve(instance.uuid);
  await expected(small);
  await node.shelve(instance.uuid, { ...atOnce, offload: true });
  await node.terminate(instance.uuid);
  await expected(undefined);
});

it('traits and aggregates are joined to those that others have set, and a disabled service bears one', async () => {
  const aggregate = randomUUID();
  const { node, reporter, uuid } = await open(
    {},
    { traits: ['CUSTOM_GOLD', 'HW_NEVER_HEARD_OF'], aggregates: [aggregate] },
  );
  await using _node = node;
  await arrived(reporter);
  const traits = async () =>
    await get<{ traits: string[]; resource_provider_generation: number }>(
      `/resource_providers/${uuid}/traits`,
    );
  const first = await traits();
  expect(first.traits.toSorted()).toEqual([
    'COMPUTE_IMAGE_TYPE_QCOW2',
    'COMPUTE_IMAGE_TYPE_RAW',
    'CUSTOM_GOLD',
  ]);
  await here.call('PUT', `/resource_providers/${uuid}/traits`, {
    ...first,
    traits: [...first.traits, 'HW_CPU_X86_AVX'],
  });

  await node.service.disable('maintenance');
  await arrived(reporter);
  expect((await traits()).traits).toEqual(
    expect.arrayContaining(['COMPUTE_STATUS_DISABLED', 'HW_CPU_X86_AVX', 'CUSTOM_GOLD']),
  );
  const required = '/allocation_candidates?resources=VCPU:1&required=CUSTOM_GOLD,!COMPUTE_STATUS_DISABLED';
  expect((await get<Candidates>(required)).provider_summaries).not.toHaveProperty(uuid);
  await node.service.enable();
  await arrived(reporter);
  expect((await get<Candidates>(`${required}&member_of=${aggregate}`)).provider_summaries).toHaveProperty(
    uuid,
  );
});

it('what others have on the provider stays: their consumers, their resource classes', async () => {
  const { node, reporter, uuid } = await open();
  await using _node = node;
  await arrived(reporter);
  const path = `/resource_providers/${uuid}/inventories`;
  await here.call('PUT', '/resource_classes/CUSTOM_LICENCE');
  const { inventories, ...rest } = await get<Inventories>(path);
  await here.call('PUT', path, { ...rest, inventories: { ...inventories, CUSTOM_LICENCE: { total: 5 } } });
  // A scheduler's claim for an instance that has not arrived, and one for an instance that will be launched here.
  const [waiting, arriving] = [randomUUID(), randomUUID()];
  for (const consumer of [waiting, arriving]) {
    await here.call('PUT', `/allocations/${consumer}`, {
      allocations: { [uuid]: { resources: { VCPU: 1, CUSTOM_LICENCE: 1 } } },
      project_id: 'p',
      user_id: 'u',
      consumer_generation: null,
      consumer_type: 'INSTANCE',
    });
  }
  await node.launch({ ...request(), uuid: arriving });
  await node.terminate(arriving);
  await node.service.disable('so that the provider is written');
  await arrived(reporter);
  await reporter.close();
  const again = await node.reporter({
    sinks: [placementSink({ endpoint: here.url, auth: { type: 'token', token: here.token } })],
  });
  await arrived(again);
  expect(Object.keys(await allocationsOf(uuid)).toSorted()).toEqual([waiting, arriving].toSorted());
  expect((await get<Inventories>(path)).inventories).toMatchObject({
    CUSTOM_LICENCE: { total: 5 },
    VCPU: { total: 8 },
  });
});

it('changes of others at the same time are waited out: no allocation and no inventory is lost', async () => {
  const { node, reporter, uuid } = await open();
  await using _node = node;
  await arrived(reporter);
  const stop = new AbortController();
  // Every change of the aggregates raises the provider's generation.
  const disturbing = (async () => {
    while (!stop.signal.aborted) {
      const path = `/resource_providers/${uuid}/aggregates`;
      const { resource_provider_generation } = await get<{ resource_provider_generation: number }>(path);
      await here
        .call('PUT', path, { resource_provider_generation, aggregates: [randomUUID()] })
        .catch(() => undefined);
      await sleep(30);
    }
  })();
  const launched = await Promise.all(Array.from({ length: 6 }, () => node.launch(request())));
  await node.service.disable('so that the traits change');
  await arrived(reporter);
  stop.abort();
  await disturbing;
  expect(Object.keys(await allocationsOf(uuid)).toSorted()).toEqual(
    launched.map(({ instance }) => instance.uuid).toSorted(),
  );
});

it('a Placement that is away is caught up with: launches go on meanwhile', async () => {
  const { node, reporter, uuid } = await open();
  await using _node = node;
  const { instance: first } = await node.launch(request());
  await arrived(reporter);
  const port = Number(new URL(here.url).port);
  await here.stop();
  const { instance: second } = await node.launch(request());
  await node.terminate(first.uuid);
  await vi.waitFor(
    () => expect(reporter.sinks[0]).toMatchObject({ error: { code: 'PLACEMENT_FAILED', retryable: true } }),
    WAIT,
  );
  placement = here = await PrivatePlacement.start(service, port);
  await arrived(reporter);
  expect(Object.keys(await allocationsOf(uuid))).toEqual([second.uuid]);
});

it('a later process is the same provider, and settles what the earlier one left', async () => {
  const hypervisor = new FakeHypervisor({
    hostname: `host-${++count}`,
    vcpus: 8,
    memoryMb: 16_384,
    localGb: 100,
  });
  const { node, reporter, uuid, path } = await open({}, {}, hypervisor);
  const { instance: gone } = await node.launch(request());
  const { instance: stays } = await node.launch(request());
  await arrived(reporter);
  await node.close();
  const between = await ComputeNode.open({
    driver: 'fake.FakeDriver',
    driverOptions: { hypervisor },
    instancesPath: path,
  });
  await between.terminate(gone.uuid);
  await between.close();
  const next = await open({ instancesPath: path }, { removeOnClose: true }, hypervisor);
  expect(next.uuid).toBe(uuid);
  await arrived(next.reporter);
  expect(Object.keys(await allocationsOf(uuid))).toEqual([stays.uuid]);
  // An instance still has allocations of it: it stays. Then it goes.
  await next.reporter.close();
  expect(await get(`/resource_providers/${uuid}`)).toMatchObject({ uuid });
  await next.node.terminate(stays.uuid);
  await next.node.close();
  const last = await open({ instancesPath: path }, { removeOnClose: true }, hypervisor);
  await arrived(last.reporter);
  await last.node.close();
  await expect(get(`/resource_providers/${uuid}`)).rejects.toThrow('404');
});

it('another provider of its name, a wrong token and a wrong address are told by the sink', async () => {
  await here.call('POST', '/resource_providers', { name: `host-${count + 1}`, uuid: randomUUID() });
  const named = await open();
  await vi.waitFor(
    () =>
      expect(named.reporter.sinks[0]).toMatchObject({
        error: {
          code: 'PLACEMENT_FAILED',
          message: expect.stringContaining(`another provider named host-${count}`),
        },
      }),
    WAIT,
  );
  await named.node.close();
  const refused = await open({}, { auth: { type: 'none' } });
  await vi.waitFor(
    () => expect(refused.reporter.sinks[0]).toMatchObject({ error: { code: 'UNAUTHORIZED' } }),
    WAIT,
  );
  await refused.node.close();
  expect(() => placementSink({ endpoint: 'ftp://x' })).toThrow('options of Placement: endpoints.0');
  expect(() => placementSink({})).toThrow('needs endpoints');
});

it('a guest of the real hypervisor is allocated while it is there', async () => {
  const host = new TestHost();
  try {
    const { node, reporter, uuid } = await open({
      driver: 'libvirt.LibvirtDriver',
      driverOptions: { root: host.root },
      instancesPath: host.instancesPath,
    });
    await using _node = node;
    const { instance } = await node.launch({
      name: 'guest',
      flavor: { vcpus: 1, memoryMb: 160, rootGb: 1 },
      image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
    });
    await arrived(reporter);
    expect(reporter.report.instances).toMatchObject([{ powerState: 'running' }]);
    expect(await allocationsOf(uuid)).toEqual({
      [instance.uuid]: { VCPU: 1, MEMORY_MB: 160, DISK_GB: 1 },
    });
    await node.terminate(instance.uuid);
    await arrived(reporter);
    expect(await allocationsOf(uuid)).toEqual({});
  } finally {
    host.dispose();
  }
});
