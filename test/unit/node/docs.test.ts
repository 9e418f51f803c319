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

function examples(page: string): string[] {
  return [...read(page).matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code = '']) => code);
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
  const [code = ''] = examples('docs/embedding.md');
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
  const [, code = ''] = examples('docs/embedding.md');
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
  const [, , code = ''] = examples('docs/embedding.md');
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
  const [, , , code = ''] = examples('docs/embedding.md');
  const { change } = await run(`export async function change(node, uuid) {\n${code}}`);
  const seen: string[] = [];
  const driver = bench.hypervisor.listen(({ event, detail }) => seen.push(`${event} ${detail}`));
  await (change as (node: ComputeNode, uuid: string) => Promise<void>)(node, instance.uuid);
  driver();
  expect(seen).toEqual(['device-removed vdb', expect.stringMatching(/^device-removed tap/)]);
  expect(await node.get(instance.uuid)).toMatchObject({ volumes: [], macs: instance.macs });
});

it('docs/embedding.md: the example of events ends with its signal', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const [, , , , code = ''] = examples('docs/embedding.md');
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

it('docs/usage.md: the example tells the counters of every instance', async () => {
  const [code = ''] = examples('docs/usage.md');
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
  const [code = ''] = examples('docs/config-drive.md');
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

it('docs/errors.md: the example tells a refusal from what may work later', async () => {
  const bench = makeBench();
  const node = await bench.open();
  const [code = ''] = examples('docs/errors.md');
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
