// Rescue and rebuild through a node, by what the guests print: embedded, and on a private libvirtd that dies on the way.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { ComputeNode, type LaunchRequest } from '../../src/index.js';
import { typeOnce } from '../support/guest-console.js';
import { eventually, GUEST_IMAGE, type GuestReport, qemuProcesses, TestHost } from '../support/host.js';
import { killAt } from '../support/kill-at.js';

const MAC = 'fa:16:3e:5e:5c:0e';
const UUID = '3b1f9c52-7a44-4d0e-8a6b-52f1c6d0e7a9';
const GIB = 1024 ** 3;

interface Setting {
  readonly host: TestHost;
  readonly driverOptions: Readonly<Record<string, unknown>>;
  readonly daemon?: PrivateLibvirtd;
}

const settings: Readonly<Record<string, () => Promise<Setting>>> = {
  async embedded() {
    const host = new TestHost();
    return { host, driverOptions: { root: host.root, vncListen: '' } };
  },
  async daemon() {
    const host = new TestHost();
    const daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
    return { host, driverOptions: { uri: daemon.uri, vncListen: '' }, daemon };
  },
};

function image(id: string): LaunchRequest['image'] {
  return { id, diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE } };
}

describe.each(Object.entries(settings))('an instance on libvirt, %s', (name, make) => {
  let setting: Setting;
  let node: ComputeNode;

  const reports = (): GuestReport[] =>
    (
      setting.host.consoleText(UUID).match(/(?<=NODE-COMPUTE-GUEST )\{"event":"BOOTED".*\}(?=\r?\n)/g) ?? []
    ).map((line) => JSON.parse(line) as GuestReport);
  /** Runs it and resolves with what the guest says when it has booted then. */
  const booting = async (work: () => Promise<unknown>): Promise<GuestReport> => {
    const { length } = reports();
    await work();
    return await eventually('the guest to boot', 90_000, () => {
      // What is typed before the prompt may be lost.
      const last = setting.host.consoleText(UUID).split('"event":"BOOTED"').at(-1);
      return last?.includes('guest# ') && reports()[length];
    });
  };
  const files = (): string[] =>
    readdirSync(`${setting.host.instancesPath}/${UUID}`)
      .filter((name) => !name.startsWith('console.log'))
      .sort();
  const text = (name: string): string =>
    readFileSync(`${setting.host.instancesPath}/${UUID}/${name}`, 'utf8');
  /** Which word `mark` wrote on that disk. */
  const markOn = async (disk: string): Promise<string> => {
    const read = `dd if=/dev/${disk} bs=512 skip=129024 count=1 2>/dev/null | tr -d '\\0'; echo "end$((1+1))"`;
    const said = await typeOnce(await node.guests.openConsole(UUID), read, /end2/);
    return /MARK (\w+)/.exec(said)?.[1] ?? '';
  };

  beforeAll(async () => {
    setting = await make();
    const { host, driverOptions } = setting;
    node = await ComputeNode.open({ instancesPath: host.instancesPath, driverOptions });
    const launched = await booting(() =>
      node.launch({
        uuid: UUID,
        name: 'first',
        flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
        image: image('guest'),
        networks: [{ bridge: host.bridge, mac: MAC }],
        configDrive: { userData: Buffer.from('kept').toString('base64') },
      }),
    );
    expect(launched.rootDiskBytes).toBe(GIB);
    await node.attachVolume(UUID, host.volume('data', 8 * 2 ** 20));
    await typeOnce(await node.guests.openConsole(UUID), 'mark before && echo "done$((1+1))"', /done2/);
  }, 180_000);

  afterAll(async () => {
    await node?.close();
    setting?.daemon?.stop();
    setting?.host.dispose();
  });

  it('boots from the rescue disk with its own disk, volume and address, over a reboot too', async () => {
    const before = [files(), text('libvirt.xml'), text('disk.info')];
    const rescued = await booting(() =>
      node.rescue(UUID, { image: image('rescue'), shutdownTimeoutMs: 5_000 }),
    );
    const sizes = (report: GuestReport): number[] =>
      report.disks.filter(({ name }) => name.startsWith('vd')).map(({ bytes }) => bytes);
    const expected = [64 * 2 ** 20, GIB, 8 * 2 ** 20];
    expect(sizes(rescued)).toEqual(expected);
    expect(rescued).toMatchObject({ uuid: UUID, name: (await node.get(UUID)).name, macs: [MAC] });
    expect((await node.get(UUID)).vmState).toBe('rescued');
    expect([await markOn('vda'), await markOn('vdb')]).toEqual(['', 'before']);
    await node.rescue(UUID, { image: image('rescue') });
    for (const refused of [
      node.rescue(UUID, { image: image('guest') }),
      node.attachVolume(UUID, setting.host.volume()),
      node.pause(UUID),
      node.rebuild(UUID, { image: image('guest') }),
    ]) {
      await expect(refused).rejects.toMatchObject({ code: 'INVALID_STATE' });
    }
    expect(sizes(await booting(() => node.reboot(UUID, 'hard')))).toEqual(expected);
    await node.shutdown(UUID, { shutdownTimeoutMs: 0 });
    expect((await node.get(UUID)).vmState).toBe('rescued');
    const own = await booting(() => node.unrescue(UUID));
    expect(sizes(own)).toEqual([GIB, 8 * 2 ** 20]);
    expect(await markOn('vda')).toBe('before');
    expect([files(), text('libvirt.xml'), text('disk.info')]).toEqual(before);
    expect((await node.get(UUID)).vmState).toBe('active');
  }, 180_000);

  it('has a drive of its own while it is rescued, over a reboot too', async () => {
    const before = [files(), text('libvirt.xml'), text('disk.info')];
    const own = await booting(() => node.reboot(UUID, 'hard'));
    const configDrive = { userData: Buffer.from('for the rescue').toString('base64') };
    const wrong = node.rescue(UUID, { configDrive: { ...configDrive, format: 'nocloud' } });
    await expect(wrong).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const rescued = await booting(() => node.rescue(UUID, { configDrive, shutdownTimeoutMs: 0 }));
    expect(rescued.configDrive?.uuid).toBe(UUID);
    expect(rescued.configDrive?.userDataSha256).not.toBe(own.configDrive?.userDataSha256);
    expect((await booting(() => node.reboot(UUID, 'hard'))).configDrive).toEqual(rescued.configDrive);
    expect((await booting(() => node.unrescue(UUID))).configDrive).toEqual(own.configDrive);
    expect([files(), text('libvirt.xml'), text('disk.info')]).toEqual(before);
  }, 180_000);

  it('boots from the last disk where the image says so, and all others keep their names', async () => {
    const before = [files(), text('libvirt.xml'), text('disk.info')];
    const type = async (line: string): Promise<string> =>
      await typeOnce(await node.guests.openConsole(UUID), `${line} && echo "done$((1+1))"`, /done2/);
    // Its own disk does not boot any more.
    await type('dd if=/dev/zero of=/dev/vda bs=512 count=1 && sync');
    const properties = { hw_rescue_device: 'disk', hw_rescue_bus: 'virtio' };
    const rescued = await booting(() =>
      node.rescue(UUID, { image: { ...image('rescue'), properties }, shutdownTimeoutMs: 0 }),
    );
    const sizes = rescued.disks.filter(({ name }) => name.startsWith('vd'));
    expect(sizes.map(({ bytes }) => bytes)).toEqual([GIB, 8 * 2 ** 20, 64 * 2 ** 20]);
    expect(await markOn('vda')).toBe('before');
    await type('dd if=/dev/vdc of=/dev/vda bs=512 count=1 && sync');
    await booting(() => node.unrescue(UUID));
    expect([files(), text('libvirt.xml'), text('disk.info')]).toEqual(before);
    const floppy = { ...image('rescue'), properties: { hw_rescue_device: 'floppy' } };
    await expect(node.rescue(UUID, { image: floppy })).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    expect(await node.get(UUID)).toMatchObject({ powerState: 'running', vmState: 'active' });
  }, 180_000);

  it('runs on from its own disk when its rescue is aborted at any moment', async () => {
    for (const delayMs of [0, 10, 60, 250]) {
      const controller = new AbortController();
      setTimeout(() => controller.abort(), delayMs);
      const { signal } = controller;
      const outcome = await node.rescue(UUID, { signal, shutdownTimeoutMs: 0 }).then(
        () => 'rescued',
        (error: { code: string }) => error.code,
      );
      expect(['rescued', 'ABORTED']).toContain(outcome);
      await node.unrescue(UUID);
      expect(await node.get(UUID)).toMatchObject({
        powerState: 'running',
        vmState: 'active',
        task: undefined,
      });
      expect(files().filter((name) => name.includes('rescue'))).toEqual([]);
    }
  }, 120_000);

  it('is another system after a rebuild, with the same name, address and volume', async () => {
    const { name: domain } = await node.get(UUID);
    const refused = node.rebuild(UUID, { image: { ...image('large'), minDiskGb: 2 } });
    await expect(refused).rejects.toMatchObject({ code: 'FLAVOR_DISK_TOO_SMALL' });
    const missing: LaunchRequest['image'] = { ...image('gone'), source: { type: 'file', path: '/nowhere' } };
    await expect(node.rebuild(UUID, { image: missing })).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' });
    const [pid] = qemuProcesses(UUID);
    expect(pid).toBeDefined();
    const kept = await booting(() =>
      node.rebuild(UUID, { image: image('other'), name: 'second' }, { shutdownTimeoutMs: 5_000 }),
    );
    expect(kept).toMatchObject({ uuid: UUID, name: domain, macs: [MAC], rootDiskBytes: GIB });
    expect(kept.disks.filter((disk) => disk.name.startsWith('vd'))).toHaveLength(2);
    expect(await markOn('vda')).toBe('');
    expect(await node.get(UUID)).toMatchObject({
      imageId: 'other',
      displayName: 'second',
      vmState: 'active',
    });
    const bases = `${setting.host.instancesPath}/_base`;
    const { base } = (JSON.parse(text('disk.info')) as { disk: { base: { path: string } } }).disk;
    expect(base.path.startsWith(bases)).toBe(true);
    const link = statSync(`${setting.host.instancesPath}/${UUID}/disk.base`);
    expect(link.ino).toBe(statSync(base.path).ino);
    expect(files().filter((file) => file.endsWith('.rebuild'))).toEqual([]);
    const again = await booting(() =>
      node.rebuild(
        UUID,
        { image: image('other'), configDrive: { userData: Buffer.from('new').toString('base64') } },
        { shutdownTimeoutMs: 0 },
      ),
    );
    expect(again.configDrive?.uuid).toBe(UUID);
    expect(again.configDrive?.userDataSha256).not.toBe(kept.configDrive?.userDataSha256);
    expect(statSync(`${setting.host.instancesPath}/${UUID}/disk.base`).nlink).toBe(2);
  }, 180_000);

  it('runs on or is rebuilt when its rebuild is aborted at any moment', async () => {
    let { imageId } = await node.get(UUID);
    for (const delayMs of [0, 10, 40, 120, 300]) {
      const next = imageId === 'other' ? 'guest' : 'other';
      const controller = new AbortController();
      setTimeout(() => controller.abort(), delayMs);
      const { signal } = controller;
      const outcome = await node.rebuild(UUID, { image: image(next) }, { signal, shutdownTimeoutMs: 0 }).then(
        () => 'rebuilt',
        (error: { code: string }) => error.code,
      );
      expect(['rebuilt', 'ABORTED']).toContain(outcome);
      if (outcome === 'rebuilt') imageId = next;
      expect(await node.get(UUID)).toMatchObject({ powerState: 'running', vmState: 'active', imageId });
      expect(files().filter((file) => file.includes('rebuild'))).toEqual([]);
    }
  }, 120_000);

  const onDaemon = name === 'daemon' ? it : undefined;
  onDaemon?.(
    'is in its old state, running, where libvirtd is killed while it is rescued or rebuilt',
    async () => {
      // Between its start of a QEMU and the first word of that, a libvirtd 9.0 that dies has the domain start for ever.
      const kill = () => setting.daemon?.kill();
      for (const moment of ['begun', { event: 'stopped' }, { event: 'started' }] as const) {
        for (const what of ['rescue', 'rebuild'] as const) {
          const change = (): Promise<unknown> =>
            what === 'rescue'
              ? node.rescue(UUID, { shutdownTimeoutMs: 0 })
              : node.rebuild(UUID, { image: image('guest') }, { shutdownTimeoutMs: 0 });
          const done = await killAt(node, moment, kill, change).then(
            () => true,
            () => false,
          );
          await eventually('libvirtd to answer', 30_000, () => node.report().catch(() => undefined));
          if (what === 'rescue') {
            expect((await node.get(UUID)).vmState).toBe(done ? 'rescued' : 'active');
            await node.unrescue(UUID);
          }
          await eventually('it to run', 30_000, async () => (await node.get(UUID)).powerState === 'running');
          expect(files().filter((name) => /rescue|rebuild/.test(name))).toEqual([]);
        }
      }
    },
    180_000,
  );

  it('is as before where its QEMU is killed while it is rescued', async () => {
    const rescue = node.rescue(UUID, { image: image('rescue-2'), shutdownTimeoutMs: 5_000 });
    const [pid] = qemuProcesses(UUID);
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
    await rescue;
    await node.unrescue(UUID);
    expect(await node.get(UUID)).toMatchObject({ powerState: 'running', vmState: 'active' });
  }, 60_000);

  it('leaves nothing when it is terminated rescued', async () => {
    await node.rescue(UUID, { shutdownTimeoutMs: 0 });
    await node.terminate(UUID);
    expect(qemuProcesses(UUID)).toEqual([]);
    expect(setting.host.remains()).toEqual([]);
  }, 60_000);
});
