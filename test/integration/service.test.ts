// A libvirtd that dies under a node: its service is down and disabled until it answers again, and every reader is told.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { ComputeNode, type ServiceStatus } from '../../src/index.js';
import { GUEST_IMAGE, TestHost } from '../support/host.js';

const host = new TestHost();
let daemon: PrivateLibvirtd;

beforeAll(async () => {
  const directory = join(host.directory, 'daemon');
  mkdirSync(directory);
  daemon = await PrivateLibvirtd.start(directory);
});

afterAll(() => {
  daemon.stop();
  host.dispose();
});

it('is disabled by itself while the hypervisor is lost, and enabled by itself', async () => {
  await using node = await ComputeNode.open({
    instancesPath: host.instancesPath,
    driverOptions: { uri: daemon.uri },
  });
  await using reporter = await node.reporter({ intervalMs: 3_600_000 });
  const { instance } = await node.launch({
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } },
  });
  const seen: ServiceStatus[] = [];
  void (async () => {
    for await (const { service } of reporter.reports()) if (service) seen.push(service);
  })();
  const wait = { timeout: 60_000, interval: 50 };
  daemon.kill();
  await vi.waitFor(
    () =>
      expect(seen).toContainEqual(
        expect.objectContaining({ state: 'down', enabled: false, disabledBy: 'connection' }),
      ),
    wait,
  );
  await vi.waitFor(() => expect(node.service.status).toMatchObject({ state: 'up', enabled: true }), wait);
  await vi.waitFor(() => {
    expect(seen.at(-1)).toMatchObject({ state: 'up', enabled: true, disabledReason: undefined });
    expect(reporter.report.instances).toMatchObject([{ uuid: instance.uuid, powerState: 'running' }]);
  }, wait);
  await node.terminate(instance.uuid);
});
