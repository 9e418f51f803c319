// The libvirt driver on a libvirtd of the test's own, with guests that boot; and what it does when the daemon dies.
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { describeDriverContract } from '../../src/driver/contract-suite.js';
import { ComputeError } from '../../src/driver/errors.js';
import type { DriverEvent } from '../../src/driver/model.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { eventually, TestHost } from '../support/host.js';

const host = new TestHost();
let daemon: PrivateLibvirtd;

beforeAll(async () => {
  daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
}, 120_000);

afterAll(() => {
  daemon.stop();
  host.dispose();
});

function makeDriver(): LibvirtDriver {
  return new LibvirtDriver({ instancesPath: host.instancesPath, uri: daemon.uri });
}

describeDriverContract('LibvirtDriver, daemon', {
  describe,
  it,
  before: beforeAll,
  after: afterAll,
  makeDriver,
  makeInstance: () => host.instance({ configDrive: 'nocloud' }),
  makeVolume: () => host.volume(),
  makeSnapshotTarget: () => host.snapshotTarget(),
  leftovers: async (instance) => host.leftovers(instance),
  consoleText: /"event":"BOOTED"/,
  limits: { spawnMs: 90_000, shutdownMs: 5_000 },
});

describe('a libvirtd that other tools use too', () => {
  it('shows our instances to virsh, and does not list foreign ones to us', async () => {
    await using driver = makeDriver();
    await driver.initHost();
    const instance = host.instance();
    await driver.spawn(instance);
    expect(daemon.virsh('list')).toMatch(new RegExp(`${instance.name}\\s+running`));
    const foreign = `${host.directory}/foreign.xml`;
    writeFileSync(
      foreign,
      "<domain type='qemu'><name>foreign</name><memory>8192</memory><os><type>hvm</type></os></domain>",
    );
    daemon.virsh('define', foreign);
    expect((await driver.listInstances()).map(({ name }) => name)).not.toContain('foreign');
    daemon.virsh('undefine', 'foreign');
    await driver.destroy(instance);
    expect(daemon.virsh('list', '--all')).not.toContain(instance.name);
  });
});

describe('a libvirtd that is killed', () => {
  it('is told by an event, calls meanwhile are retryable errors, and the driver finds its guests again', async () => {
    await using driver = makeDriver();
    await driver.initHost();
    const events: DriverEvent[] = [];
    void (async () => {
      for await (const event of driver.events()) events.push(event);
    })();
    const instance = host.instance();
    await driver.spawn(instance);
    const state = (wanted: string) =>
      eventually(`the event ${wanted}`, 30_000, () =>
        events.some((event) => event.type === 'connection' && event.state === wanted),
      );
    daemon.kill();
    await state('down');
    const outcome = await driver.getInfo(instance.uuid).catch((error: unknown) => error);
    if (ComputeError.is(outcome)) {
      expect(outcome).toMatchObject({ code: 'CONNECTION_LOST', retryable: true });
    }
    await state('up');
    expect((await driver.getInfo(instance.uuid)).powerState).toBe('running');
    await driver.destroy(instance);
    expect(host.leftovers(instance)).toEqual([]);
  });
});
