// Volumes and interfaces that come and go, by the word of the guest: on both kinds of connection, running and at rest.
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { volumeKey } from '../../src/driver/volume.js';
import type { AttachedVolume, DriverEvent, Instance, Vif, VolumeConnection } from '../../src/index.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { tapName } from '../../src/network/names.js';
import { eventually, qemuProcesses, TestHost } from '../support/host.js';

const MIB = 2 ** 20;
const EMBEDDED_AND_DAEMON = ['embedded', 'daemon'] as const;

describe.each(EMBEDDED_AND_DAEMON)('on a connection that is %s', (kind) => {
  const host = new TestHost();
  const events: DriverEvent[] = [];
  let daemon: PrivateLibvirtd | undefined;
  let driver: LibvirtDriver;
  let instance: Instance;

  beforeAll(async () => {
    if (kind === 'daemon') daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
    await open();
    void (async () => {
      for await (const event of driver.events()) events.push(event);
    })();
    instance = host.instance();
    await driver.spawn(instance);
    await host.booted(instance.uuid);
  }, 180_000);

  async function open(limits: { detachTimeoutMs?: number; detachAttempts?: number } = {}): Promise<void> {
    const { instancesPath } = host;
    driver = new LibvirtDriver({
      ...(daemon ? { instancesPath, uri: daemon.uri } : host.options()),
      ...limits,
    });
    await driver.initHost();
  }

  afterAll(async () => {
    await driver.destroy(instance);
    await driver.close();
    daemon?.stop();
    const remains = host.remains();
    host.dispose();
    expect(remains).toEqual([]);
  });

  function volumeFile(name: string, bytes: number, format: 'raw' | 'qcow2' = 'raw', full = false): string {
    const directory = join(host.directory, 'volumes');
    mkdirSync(directory, { recursive: true, mode: 0o711 });
    const path = join(directory, name);
    execFileSync('qemu-img', ['create', '-q', '-f', format, path, String(bytes)]);
    if (full) writeFileSync(path, randomBytes(bytes));
    return path;
  }

  const file = (path: string, more: Partial<VolumeConnection> = {}): VolumeConnection =>
    ({ driverVolumeType: 'file', data: { path, format: 'raw' }, ...more }) as VolumeConnection;

  async function attach(connection: VolumeConnection, device?: string): Promise<AttachedVolume> {
    const attached = await driver.attachVolume(instance, connection, device);
    instance = { ...instance, volumes: [...(instance.volumes ?? []), attached] };
    return attached;
  }

  async function detach(connection: VolumeConnection): Promise<void> {
    await driver.detachVolume(instance, connection);
    const others = instance.volumes?.filter((one) => volumeKey(one.connection) !== volumeKey(connection));
    instance = { ...instance, volumes: others ?? [] };
  }

  const definition = (): string =>
    readFileSync(join(host.instancesPath, instance.uuid, 'libvirt.xml'), 'utf8');
  const guestDisks = (names: readonly string[]) =>
    host.sees(
      instance.uuid,
      names.join(' '),
      ({ disks }) => disks.map(({ name }) => name).join(' ') === names.join(' '),
    );

  it('a raw file and a qcow2 file are attached, seen with size, serial and mode, and detached', async () => {
    const first = file(volumeFile('first', 64 * MIB), { serial: 'first-volume', discard: true });
    const second: VolumeConnection = {
      driverVolumeType: 'file',
      data: { path: volumeFile('second', 32 * MIB, 'qcow2'), format: 'qcow2' },
      readOnly: true,
      limits: { totalIops: 500, readBytes: 10 * MIB },
    };
    expect(await attach(first)).toEqual({ connection: first, device: 'vdb' });
    expect(await attach(second, 'vdd')).toEqual({ connection: second, device: 'vdd' });
    const { disks } = await guestDisks(['vda', 'vdb', 'vdc']);
    expect(disks.slice(1)).toEqual([
      { name: 'vdb', bytes: 64 * MIB, serial: 'first-volume', readOnly: 0 },
      { name: 'vdc', bytes: 32 * MIB, serial: '', readOnly: 1 },
    ]);
    expect(definition()).toContain(`<target dev='vdd' bus='virtio'/>`);
    // Once more is success and changes nothing.
    expect(await driver.attachVolume(instance, first, undefined)).toMatchObject({ device: 'vdb' });
    await detach(first);
    await guestDisks(['vda', 'vdc']);
    await driver.detachVolume(instance, first);
    await detach(second);
    await guestDisks(['vda']);
    expect(definition()).not.toContain('volumes/');
    const removed = events.filter((event) => event.type === 'device-removed');
    expect(removed.map((event) => ('alias' in event ? [event.uuid, event.alias] : event.type))).toEqual([
      [instance.uuid, expect.stringMatching(/^virtio-disk/)],
      [instance.uuid, expect.stringMatching(/^virtio-disk/)],
    ]);
  });

  it('a volume served by qemu-nbd on a socket is attached and detached', async () => {
    const socket = join(host.directory, 'nbd.sock');
    const path = volumeFile('served', 16 * MIB);
    const server = spawn('qemu-nbd', ['-f', 'raw', '-t', '-e', '4', '-x', 'disk', '-k', socket, path]);
    onTestFinished(() => void server.kill());
    await eventually('qemu-nbd', 10_000, () => existsSync(socket));
    // QEMU's own user connects to it.
    chmodSync(socket, 0o777);
    const volume: VolumeConnection = {
      driverVolumeType: 'nbd',
      data: { socket, export: 'disk' },
      cacheMode: 'writethrough',
    };
    await attach(volume);
    expect((await guestDisks(['vda', 'vdb'])).disks[1]?.bytes).toBe(16 * MIB);
    await detach(volume);
    await guestDisks(['vda']);
  });

  it('an interface comes with its bridge and tap, and goes with them', async () => {
    const id = randomUUID();
    const bridge = `${host.bridge}b`;
    const vif: Vif = { id, mac: 'fa:16:3e:aa:00:01', bridge, tap: tapName(id), mtu: 1400 };
    const link = (name: string): boolean => existsSync(`/sys/class/net/${name}`);
    await driver.attachInterface(instance, vif);
    expect([link(bridge), link(vif.tap)]).toEqual([true, true]);
    const more = { ...instance, vifs: [...instance.vifs, vif] };
    await host.sees(instance.uuid, 'the interface', ({ macs }) => macs.includes(vif.mac));
    await driver.attachInterface(more, vif);
    expect(definition()).toContain(vif.tap);
    await driver.detachInterface(more, vif);
    await host.sees(instance.uuid, 'no interface', ({ macs }) => !macs.includes(vif.mac));
    expect([link(bridge), link(vif.tap)]).toEqual([false, false]);
    expect(definition()).not.toContain(vif.tap);
    await driver.detachInterface(instance, vif);
  });

  it('a volume is made larger while the guest runs, and never smaller', async () => {
    const path = volumeFile('growing', 8 * MIB);
    const volume = file(path);
    await attach(volume);
    await guestDisks(['vda', 'vdb']);
    await driver.extendVolume(instance, volume, 24 * MIB);
    await host.sees(instance.uuid, '24 MiB', ({ disks }) => disks[1]?.bytes === 24 * MIB);
    await driver.extendVolume(instance, volume, 24 * MIB);
    const less = driver.extendVolume(instance, volume, 8 * MIB);
    await expect(less).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    expect(statSync(path).size).toBe(24 * MIB);
    await detach(volume);
    const unknown = driver.extendVolume(instance, volume, 32 * MIB);
    await expect(unknown).rejects.toMatchObject({ code: 'DEVICE_NOT_FOUND' });
  });

  it('a volume is swapped for another with all that it holds; an abort leaves the first', async () => {
    const paths = { from: volumeFile('from', 16 * MIB, 'raw', true), to: volumeFile('to', 16 * MIB) };
    const [from, to] = [file(paths.from), file(paths.to)];
    await attach(from);
    await guestDisks(['vda', 'vdb']);
    const swapped = await driver.swapVolume(instance, from, to);
    expect(swapped).toEqual({ connection: to, device: 'vdb' });
    instance = { ...instance, volumes: [swapped] };
    expect(readFileSync(paths.to).equals(readFileSync(paths.from))).toBe(true);
    expect(definition()).toContain(`'${paths.to}'`);
    expect(definition()).not.toContain(`'${paths.from}'`);
    const jobs = (): unknown =>
      events.filter((event) => event.type === 'block-job').map(({ disk, status }) => [disk, status]);
    // The reader of the events has its turn when it comes.
    await expect.poll(jobs, { timeout: 10_000 }).toEqual([
      ['vdb', 'ready'],
      ['vdb', 'completed'],
    ]);
    // Again, and of a volume that it no longer has.
    expect(await driver.swapVolume(instance, from, to)).toEqual(swapped);
    const other = file(volumeFile('other', 16 * MIB));
    const gone = driver.swapVolume(instance, from, other);
    await expect(gone).rejects.toMatchObject({ code: 'DEVICE_NOT_FOUND' });
    // An abort in the middle goes on with the first.
    const controller = new AbortController();
    const { connection, begun } = await slowVolume('slow');
    const copying = driver.swapVolume(instance, to, connection, { signal: controller.signal });
    void copying.catch(() => undefined);
    await begun();
    controller.abort();
    await expect(copying).rejects.toMatchObject({ code: 'ABORTED' });
    expect(definition()).toContain(`'${paths.to}'`);
    await detach(to);
    await guestDisks(['vda']);
  });

  it('what is refused changes nothing', async () => {
    const before = definition();
    const path = volumeFile('good', MIB);
    const refusals: [VolumeConnection, string | undefined, string][] = [
      [file(join(host.directory, 'absent')), undefined, 'INVALID_ARGUMENT'],
      [file(host.directory), undefined, 'INVALID_ARGUMENT'],
      [file('/etc/../etc/passwd'), undefined, 'INVALID_ARGUMENT'],
      [file(join(host.instancesPath, '_base', baseName())), undefined, 'INVALID_ARGUMENT'],
      [file(path), 'vda', 'DEVICE_IN_USE'],
      [file(path), 'sdb', 'UNSUPPORTED'],
      [file(path), "vdb'/>", 'INVALID_ARGUMENT'],
      [file(path, { serial: '<serial/>' }), undefined, 'INVALID_ARGUMENT'],
      [{ driverVolumeType: 'block', data: { path: '/dev/nothing' } }, undefined, 'INVALID_ARGUMENT'],
      [{ driverVolumeType: 'block', data: { path: '/dev/null' } }, undefined, 'HYPERVISOR'],
      [file(join(host.instancesPath, instance.uuid, 'disk')), undefined, 'DEVICE_IN_USE'],
      [{ driverVolumeType: 'nbd', data: { host: '127.0.0.1', port: 1 } }, undefined, 'HYPERVISOR'],
    ];
    for (const [volume, device, code] of refusals) {
      const refused = driver.attachVolume(instance, volume, device);
      await expect(refused, JSON.stringify(volume)).rejects.toMatchObject({ code });
    }
    expect(definition()).toBe(before);
    await guestDisks(['vda']);
  });

  it('what is attached outlives a hard reboot, a stop and a start; at rest it is in the definition alone', async () => {
    const [kept, later] = [file(volumeFile('kept', 8 * MIB)), file(volumeFile('later', 4 * MIB))];
    await attach(kept);
    await driver.reboot(instance, 'hard');
    await driver.powerOff(instance.uuid);
    expect(await attach(later)).toMatchObject({ device: 'vdc' });
    await driver.extendVolume(instance, later, 12 * MIB);
    const id = randomUUID();
    const vif: Vif = { id, mac: 'fa:16:3e:aa:00:02', bridge: host.bridge, tap: tapName(id) };
    await driver.attachInterface(instance, vif);
    instance = { ...instance, vifs: [...instance.vifs, vif] };
    await boot();
    const { disks, macs } = await host.booted(instance.uuid);
    expect(disks.map(({ bytes }) => bytes).slice(1)).toEqual([8 * MIB, 12 * MIB]);
    expect(macs).toEqual(instance.vifs.map(({ mac }) => mac));
  });

  it('a guest that does not answer keeps its device, and so does its definition', async () => {
    const [{ connection }] = instance.volumes as [AttachedVolume];
    await driver.pause(instance.uuid);
    await expect(driver.detachVolume(instance, connection)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await driver.unpause(instance.uuid);
    await halt(host, instance.uuid);
    await driver.close();
    await open({ detachTimeoutMs: 1_000, detachAttempts: 2 });
    const before = definition();
    const refused = await driver.detachVolume(instance, connection).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'DETACH_FAILED', retryable: true, details: { attempts: 2 } });
    expect(definition()).toBe(before);
    expect(before).toContain('kept');
    // QEMU dies while its guest is asked, with the first request still open: the volume is gone all the same.
    const detaching = detach(connection);
    await new Promise((resolve) => setTimeout(resolve, 300));
    killQemu();
    await detaching;
    expect(definition()).not.toContain('kept');
  });

  it('at rest all of them are taken out of the definition', async () => {
    const [later] = instance.volumes as [AttachedVolume];
    const [first, second] = instance.vifs as [Vif, Vif];
    await detach(later.connection);
    await driver.detachInterface(instance, second);
    instance = { ...instance, vifs: [first] };
    expect(definition()).not.toContain('later');
    expect(definition()).not.toContain(second.mac);
  });

  it('a QEMU that dies in the middle of a copy leaves the instance with the first volume', async () => {
    const from = file(volumeFile('from-2', 16 * MIB, 'raw', true));
    await attach(from);
    await driver.powerOn(instance);
    const { connection, begun } = await slowVolume('slow-2');
    const copying = driver.swapVolume(instance, from, connection);
    void copying.catch(() => undefined);
    await begun();
    killQemu();
    await expect(copying).rejects.toMatchObject({ code: 'HYPERVISOR', retryable: true });
    await driver.powerOn(instance);
    await expect(driver.attachVolume(instance, from, 'vdb')).resolves.toMatchObject({ device: 'vdb' });
    expect(definition()).toContain('from-2');
  });

  /** Takes six MiB a second; `begun` resolves when the first bytes are there. */
  async function slowVolume(
    name: string,
  ): Promise<{ connection: VolumeConnection; begun: () => Promise<unknown> }> {
    const path = volumeFile(name, 16 * MIB);
    const empty = statSync(path).blocks;
    const socket = join(host.directory, `${name}.sock`);
    const server = spawn('qemu-nbd', [
      ...['-t', '-k', socket, '--object', 'throttle-group,id=slow,x-bps-write=6291456'],
      ...['--image-opts', `driver=throttle,throttle-group=slow,file.driver=file,file.filename=${path}`],
    ]);
    onTestFinished(() => void server.kill('SIGKILL'));
    await eventually('qemu-nbd', 10_000, () => existsSync(socket));
    chmodSync(socket, 0o777);
    const begun = (): Promise<unknown> =>
      eventually('the copy to begin', 10_000, () => statSync(path).blocks > empty);
    return { connection: { driverVolumeType: 'nbd', data: { socket } }, begun };
  }

  function baseName(): string {
    const names = readdirSync(join(host.instancesPath, '_base'));
    return names.find((name) => /^[0-9a-f]{40}$/.test(name)) ?? '';
  }

  function killQemu(): void {
    for (const pid of qemuProcesses(instance.uuid)) process.kill(pid, 'SIGKILL');
  }

  async function boot(): Promise<void> {
    truncateSync(join(host.instancesPath, instance.uuid, 'console.log'), 0);
    await driver.powerOn(instance);
    await host.booted(instance.uuid);
  }
});

/** Its only CPU stops in a panic, with interrupts off: nothing of it answers any more. */
async function halt(host: TestHost, uuid: string): Promise<void> {
  const [pid] = qemuProcesses(uuid);
  const tty = readdirSync(`/proc/${pid}/fdinfo`)
    .map((fd) => /tty-index:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1])
    .find((index) => index !== undefined);
  await eventually('the prompt', 20_000, () => host.consoleText(uuid).includes('guest# '));
  // Held open: QEMU looks once a second whether there is somebody on the other side.
  const console = openSync(`/dev/pts/${tty}`, constants.O_RDWR | constants.O_NOCTTY);
  onTestFinished(() => closeSync(console));
  writeSync(console, 'echo 7 >/proc/sys/kernel/printk; echo c >/proc/sysrq-trigger\n');
  await eventually('the panic', 20_000, () => host.consoleText(uuid).includes('Kernel panic'));
}
