// The examples of the documentation run as they stand, and every error code is documented once.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it, onTestFinished, vi } from 'vitest';
import {
  ComputeError,
  type ComputeNode,
  FakeDriver,
  ImageCache,
  type LaunchRequest,
  registerDriver,
} from '../../../src/index.js';
import { makeBench, request } from '../../fault/node-harness.js';
import { fakeCloud, glanceAnswer, IMAGE_ID, json } from '../../support/fake-cloud.js';

const repository = fileURLToPath(new URL('../../../', import.meta.url));
const read = (path: string): string => readFileSync(join(repository, path), 'utf8');

/** The one example of a page that has the word. */
function example(page: string, word: string): string {
  const all = [...read(page).matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code);
  const [code = '', ...others] = all.filter((one) => one.includes(word));
  expect(others).toEqual([]);
  return code;
}

/** Runs the code against this source tree. */
async function run(code: string): Promise<Record<string, unknown>> {
  const directory = mkdtempSync(join(tmpdir(), 'nct-docs-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'example.ts');
  writeFileSync(path, code.replaceAll("'node-compute'", JSON.stringify(join(repository, 'src/index.ts'))));
  return (await import(/* @vite-ignore */ path)) as Record<string, unknown>;
}

it('docs/embedding.md: the first example launches and terminates', async () => {
  const bench = makeBench();
  const code = example('docs/embedding.md', 'build-4711');
  const path = "instancesPath: '/var/lib/node-compute/instances',";
  expect(code).toContain(path);
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  await run(code.replace(path, `instancesPath: ${JSON.stringify(bench.path)}, driver: 'fake.FakeDriver',`));
  const lines = log.mock.calls.map(([line]) => String(line));
  expect(lines[0]).toBe('instance-00000001 is running, image cache: fetched');
  expect(lines.slice(1).map((line) => line.split(':')[0])).toEqual(['claim', 'image', 'definition', 'start']);
  expect(bench.left()).toEqual([]);
  await (await bench.open()).close();
});

it('docs/embedding.md: the example of Glance launches the image that it has', async () => {
  const bench = makeBench();
  const cloud = await fakeCloud();
  cloud.lookup = (_request, response) => json(response, glanceAnswer());
  const code = example('docs/embedding.md', 'GlanceImageService');
  const [endpoint, options] = ["'https://glance.example.org:9292'", 'open({'];
  expect(code).toContain(endpoint);
  await run(
    code
      .replace(endpoint, JSON.stringify(cloud.url))
      .replace(
        options,
        `${options} instancesPath: ${JSON.stringify(bench.path)}, driver: 'fake.FakeDriver',`,
      ),
  );
  expect(cloud.requests).toEqual([`GET /image/v2/images/${IMAGE_ID}`]);
  const node = await bench.open();
  expect(await node.list()).toMatchObject([{ displayName: 'web-1', imageId: IMAGE_ID }]);
});

it('docs/embedding.md: the example of the image cache pins and lists', async () => {
  const bench = makeBench();
  const code = example('docs/embedding.md', 'new ImageCache');
  const path = "'/var/lib/node-compute/instances'";
  expect(code).toContain(path);
  const image = join(bench.path, 'image');
  writeFileSync(image, Buffer.alloc(4096, 'x'));
  const cache = new ImageCache({ instancesPath: bench.path, reservedBytes: 0 });
  onTestFinished(() => cache.close());
  await cache.prefetch({
    id: 'debian-13',
    diskFormat: 'raw',
    source: { type: 'file', path: image },
    properties: {},
  });
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  await run(code.replace(path, JSON.stringify(bench.path)));
  expect(log.mock.calls).toEqual([['debian-13: sound, 0 instances']]);
  expect(await cache.pinned()).toEqual(['debian-13']);
});

it('docs/embedding.md: the example of devices attaches and detaches', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const { instance } = await node.launch(request());
  const code = example('docs/embedding.md', 'node.attachVolume');
  const { change } = await run(`export async function change(node, uuid) {\n${code}}`);
  const seen: string[] = [];
  const driver = bench.hypervisor.listen(
    (event) => event.type === 'device-removed' && seen.push(`${event.type} ${event.alias}`),
  );
  await (change as (node: ComputeNode, uuid: string) => Promise<void>)(node, instance.uuid);
  driver();
  expect(seen).toEqual(['device-removed vdb', expect.stringMatching(/^device-removed tap/)]);
  expect(await node.get(instance.uuid)).toMatchObject({ volumes: [], macs: instance.macs });
});

it('docs/drivers.md: a driver of your own is known by its name', async () => {
  const bench = makeBench();
  const code = example('docs/drivers.md', 'node-compute');
  const open = "{ driver: 'rack.RackDriver' }";
  expect(code).toContain(open);
  const options = `{ driver: 'rack.RackDriver', instancesPath: ${JSON.stringify(bench.path)} }`;
  const { node } = (await run(code.replace(open, options))) as { node: ComputeNode };
  onTestFinished(() => node.close());
  expect(await node.list()).toEqual([]);
});

it('docs/embedding.md: the example of rescue and rebuild leaves another system', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const { instance } = await node.launch(request());
  const code = example('docs/embedding.md', 'node.rescue');
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  const { change } = await run(`export async function change(node, uuid, rescueImage, image) {\n${code}}`);
  const images = ['rescue', 'new'].map((id) => ({ ...request().image, id }));
  await (change as (node: ComputeNode, uuid: string, ...images: object[]) => Promise<void>)(
    node,
    instance.uuid,
    ...images,
  );
  expect(log.mock.calls).toEqual([['rescued']]);
  expect(await node.get(instance.uuid)).toMatchObject({
    vmState: 'active',
    imageId: 'new',
    displayName: 'web-2',
  });
});

it('docs/embedding.md: the example of events ends with its signal', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const code = example('docs/embedding.md', 'node.events');
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  const { follow } = await run(`export async function follow(node, signal) {\n${code}}`);
  const controller = new AbortController();
  const following = (follow as (node: ComputeNode, signal: AbortSignal) => Promise<void>)(
    node,
    controller.signal,
  );
  const { instance } = await node.launch(request());
  await vi.waitFor(() => expect(log.mock.calls).toContainEqual([instance.uuid, 'started', 'booted']));
  controller.abort();
  await following;
});

it('docs/embedding.md: the example of snapshots makes two images', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const { instance } = await node.launch(request());
  const code = example('docs/embedding.md', 'node.snapshot');
  const { take } = await run(`export async function take(node, uuid) {\n${code}}`);
  await (take as (node: ComputeNode, uuid: string) => Promise<void>)(node, instance.uuid);
  const whole = { instanceUuid: instance.uuid, state: 'whole' };
  expect([...bench.hypervisor.snapshots]).toEqual([
    [expect.stringMatching(/^[0-9a-f-]{36}$/), whole],
    ['/backup/guest.qcow2', whole],
  ]);
});

it('docs/embedding.md: the example of a resize confirms it', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const { instance } = await node.launch(request());
  const code = example('docs/embedding.md', 'node.resize');
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  const { grow } = await run(`export async function grow(node, uuid) {\n${code}}`);
  await (grow as (node: ComputeNode, uuid: string) => Promise<void>)(node, instance.uuid);
  expect(log.mock.calls).toContainEqual(['verify', 1, 4]);
  expect(await node.get(instance.uuid)).toMatchObject({
    flavor: { vcpus: 4, memoryMb: 8192, rootGb: 40 },
    resize: undefined,
  });
});

it('docs/usage.md: the example tells the counters of every instance', async () => {
  const code = example('docs/usage.md', 'getInstancesUsage');
  const options = "'libvirt.LibvirtDriver', { instancesPath: '/var/lib/node-compute/instances' }";
  expect(code).toContain(options);
  const bench = makeBench();
  await using node = await bench.open();
  const { instance } = await node.launch(request());
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  registerDriver('docs.UsageDriver', () => new FakeDriver({ hypervisor: bench.hypervisor }));
  await run(code.replace(options, "'docs.UsageDriver'"));
  expect(log.mock.calls).toEqual([[instance.name, 'running', 0n, 0, 0]]);
});

it('docs/config-drive.md: the example launches an instance with its drive', async () => {
  const bench = makeBench();
  const code = example('docs/config-drive.md', 'node-compute');
  const userData = join(bench.path, '..', `${basename(bench.path)}.yaml`);
  writeFileSync(userData, '#cloud-config\n');
  onTestFinished(() => rmSync(userData));
  const [options, file] = ['open({})', "'user-data.yaml'"];
  expect(code).toContain(options);
  expect(code).toContain(file);
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  onTestFinished(() => log.mockRestore());
  await run(
    code
      .replace(
        options,
        `open({ instancesPath: ${JSON.stringify(bench.path)}, driver: 'fake.FakeDriver',
        driverOptions: { files: true } })`,
      )
      .replace(file, JSON.stringify(userData)),
  );
  expect(log.mock.calls).toEqual([['instance-00000001 reads its config drive']]);
  const [uuid = ''] = bench.left().filter((name) => name.length === 36);
  expect(readFileSync(join(bench.path, uuid, 'disk.config'), 'latin1')).toContain('#cloud-config');
});

it('docs/network.md: the example has an interface in a VLAN, on the bridge of its network', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const code = example('docs/network.md', 'vlan: 101');
  const { launch } = await run(`export async function launch(node) {\n${code}}`);
  await (launch as (node: ComputeNode) => Promise<void>)(node);
  expect([...bench.hypervisor.domains.values()][0]?.instance.vifs).toMatchObject([
    { bridge: 'br-vms' },
    { bridge: 'brq5f0c8c1e-7d', physicalInterface: 'eth1', vlan: 101, mtu: 1450 },
  ]);
});

it('docs/resources.md: the example reads reports, whole and delta', async () => {
  const bench = makeBench();
  const code = example('docs/resources.md', 'port: 9177');
  const [path, port] = ["instancesPath: '/var/lib/node-compute/instances'", 'port: 9177'];
  expect(code).toContain(path);
  expect(code).toContain(port);
  const log = vi.spyOn(console, 'log').mockImplementation(() => undefined);
  const lines = vi.spyOn(process.stderr, 'write').mockImplementation(() => true);
  onTestFinished(() => log.mockRestore());
  onTestFinished(() => lines.mockRestore());
  await run(
    code
      .replace(path, `instancesPath: ${JSON.stringify(bench.path)}, driver: 'fake.FakeDriver'`)
      .replace(port, 'port: 0')
      .replace('reporter({', 'reporter({ intervalMs: 50,'),
  );
  expect(log.mock.calls).toEqual([['0 MiB are claimed'], ['0 instances changed since report 1']]);
  expect(lines.mock.calls.map(([line]) => String(line)).join('')).toContain('{"type":"full","sequence":1,');
});

it('docs/resources.md: the example of Placement makes a sink, that of a scheduler chooses', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const placement = example('docs/resources.md', 'placementSink');
  const scheduler = example('docs/resources.md', 'chooseHost');
  const { open } = await run(
    `import { placementSink } from 'node-compute';\nexport async function open(node) {\n${placement}\nreturn reporter;\n}`,
  );
  const reporter = await (open as (node: ComputeNode) => ReturnType<ComputeNode['reporter']>)(node);
  expect(reporter.sinks).toMatchObject([{ name: 'placement', delivered: 0 }]);
  const { chooseHost } = (await run(scheduler)) as { chooseHost: (reports: unknown[]) => unknown };
  expect(chooseHost([reporter.report])).toBe(reporter.report);
  expect(chooseHost([])).toBeUndefined();
});

it('docs/errors.md: the example tells a refusal from what may work later', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const code = example('docs/errors.md', 'node-compute');
  const { launchOrExplain } = (await run(code)) as {
    launchOrExplain: (node: ComputeNode, request: LaunchRequest) => Promise<string>;
  };
  expect(await launchOrExplain(node, request({ flavor: { vcpus: 1, memoryMb: 2 ** 20 } }))).toContain(
    'no room',
  );
  bench.faults.add({ at: 'spawn', fail: new ComputeError('CONNECTION_LOST', 'gone', { retryable: true }) });
  expect(await launchOrExplain(node, request())).toBe('try again later: CONNECTION_LOST');
  expect(await launchOrExplain(node, request({ name: '' }))).toBe('will not work: INVALID_ARGUMENT');
  expect(await launchOrExplain(node, request())).toBe('instance-00000002 runs');
});

it('docs/errors.md: has every code once, each with a meaning and a remedy', () => {
  const source = read('src/driver/errors.ts');
  const union = source.slice(source.indexOf('export type ErrorCode'), source.indexOf(';'));
  const codes = [...union.matchAll(/'([A-Z_]+)'/g)].map(([, code]) => code);
  expect(codes.length).toBeGreaterThan(20);
  const rows = [...read('docs/errors.md').matchAll(/^\| `([A-Z_]+)` \| (.+?) \| (.+?) \|$/gm)];
  expect(rows.map(([, code]) => code).sort()).toEqual(codes.sort());
  for (const [, , meaning = '', remedy = ''] of rows) {
    expect(Math.min(meaning.length, remedy.length)).toBeGreaterThan(9);
  }
});
