// A real Prometheus reads the figures of a node and of a guest that runs.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it, onTestFinished, vi } from 'vitest';
import { PrivatePrometheus } from '../../scripts/private-prometheus.mjs';
import { ComputeNode, PrometheusSink } from '../../src/index.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const obstacle = PrivatePrometheus.obstacle();
const host = new TestHost();

afterAll(() => host.dispose());

it('scrapes a node: what is claimed, what runs, and every line of it', async ({ skip }) => {
  if (obstacle) return skip(obstacle);
  await using node = await ComputeNode.open({
    instancesPath: host.instancesPath,
    driverOptions: { root: host.root },
  });
  const sink = new PrometheusSink({ port: 0 });
  await using reporter = await node.reporter({ intervalMs: 500, sinks: [sink] });
  const directory = join(host.directory, 'prometheus');
  mkdirSync(directory);
  const prometheus = await PrivatePrometheus.start(directory, sink.url ?? '');
  onTestFinished(() => prometheus.stop());
  const { instance } = await node.launch({
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 160, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
  });
  const wait = { timeout: 30_000, interval: 200 };
  await vi.waitFor(async () => {
    expect(await prometheus.query('node_compute_resource_used{resource="memory_mb"}')).toMatchObject([
      { value: 160 },
    ]);
    expect(await prometheus.query('node_compute_instance_state')).toMatchObject([
      { labels: { uuid: instance.uuid, domain: instance.name, state: 'running' }, value: 1 },
    ]);
  }, wait);
  // It drops what it cannot read, and says that the target is up all the same.
  await vi.waitFor(async () => {
    const text = await (await fetch(sink.url ?? '')).text();
    const [scraped] = await prometheus.query('scrape_samples_scraped');
    expect(scraped?.value).toBe(text.split('\n').filter((line) => line.startsWith('node_compute')).length);
  }, wait);
  await node.terminate(instance.uuid);
  await vi.waitFor(
    async () => expect(await prometheus.query('node_compute_instances')).toMatchObject([{ value: 0 }]),
    wait,
  );
  expect(reporter.sinks).toMatchObject([{ failed: 0 }]);
});
