// What running guests cause: a full disk, a watchdog nobody feeds, a panic, an agent, jobs, a balloon; each by a real guest.
import { execFileSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import type { DriverEvent, Instance } from '../../src/driver/model.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { atPrompt } from '../support/guest-console.js';
import { eventually, qemuProcesses, TestHost } from '../support/host.js';

const host = new TestHost();
const small = `${host.directory}/volumes`;
const seen: DriverEvent[] = [];
let daemon: PrivateLibvirtd;
let driver: LibvirtDriver;
let instance: Instance;

beforeAll(async () => {
  mkdirSync(small, { mode: 0o711 });
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=711', 'small', small]);
  daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
  driver = new LibvirtDriver({ instancesPath: host.instancesPath, uri: daemon.uri });
  await driver.initHost();
  void (async () => {
    for await (const event of driver.events()) seen.push(event);
  })();
  const plain = host.instance();
  const properties = {
    hw_qemu_guest_agent: 'yes',
    hw_watchdog_action: 'pause',
    hw_panic_device: 'yes',
  };
  instance = { ...plain, image: { ...plain.image, properties } };
  await driver.spawn(instance);
  await host.booted(instance.uuid);
}, 180_000);

afterAll(async () => {
  console?.destroy();
  await driver?.destroy(instance);
  await driver?.close();
  daemon?.stop();
  execFileSync('umount', ['--lazy', small]);
  host.dispose();
});

type EventOf<T extends DriverEvent['type']> = Extract<DriverEvent, { type: T }>;

async function event<T extends DriverEvent['type']>(
  type: T,
  from: number,
  matches: (event: EventOf<T>) => boolean = () => true,
): Promise<EventOf<T>> {
  return await eventually(`the event ${type}`, 60_000, () =>
    seen.slice(from).find((one): one is EventOf<T> => one.type === type && matches(one as EventOf<T>)),
  );
}

async function stands(state: string, detail: string, from: number): Promise<void> {
  await event('lifecycle', from, (one) => one.event === state && one.detail === detail);
}

let console: Duplex | undefined;

/** Types lines at the prompt; what they print goes to the console's log. Stays open: what was typed last is on its way. */
async function types(...lines: string[]): Promise<void> {
  console?.destroy();
  const opened = await driver.openConsole(instance.uuid, { force: true });
  console = opened;
  await atPrompt(opened);
  opened.resume();
  for (const line of lines) opened.write(`${line}\n`);
}

describe('a running guest', () => {
  it('is told to have an agent, which may go and come back', async () => {
    expect(await event('agent', 0, ({ state }) => state === 'connected')).toMatchObject({
      uuid: instance.uuid,
      name: instance.name,
      reason: 'channel',
    });
    const mark = seen.length;
    await types('kill -9 $(cat /run/agent)');
    await event('agent', mark, ({ state }) => state === 'disconnected');
    await types('guest-agent &');
    await event('agent', mark, ({ state }) => state === 'connected');
  }, 120_000);

  it('is told to have written past a threshold of its disk, once', async () => {
    const { uuid } = instance;
    const disk = `${host.instancesPath}/${uuid}/disk`;
    const thresholdBytes = statSync(disk).size + 2 ** 20;
    await driver.setDiskThreshold(uuid, 'vda', thresholdBytes);
    const mark = seen.length;
    await types('dd if=/dev/zero of=/dev/vda bs=1M seek=300 count=4 conv=fsync');
    expect(await event('disk-threshold', mark)).toMatchObject({ uuid, disk: 'vda', thresholdBytes });
    await types('dd if=/dev/zero of=/dev/vda bs=1M seek=310 count=4 conv=fsync; echo again $((1 + 1))');
    await eventually('the second write', 30_000, () => host.consoleText(uuid).includes('again 2'));
    expect(seen.slice(mark).filter(({ type }) => type === 'disk-threshold')).toHaveLength(1);
    await expect(driver.setDiskThreshold(uuid, 'vdz', 1)).rejects.toMatchObject({ code: 'DEVICE_NOT_FOUND' });
    await expect(driver.setDiskThreshold(uuid, 'vda', -1)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  }, 120_000);

  it('stands still when the host has no space for its disk, and goes on when there is', async () => {
    const { uuid } = instance;
    const volume = host.volume('full', 32 * 2 ** 20);
    const { device } = await driver.attachVolume(instance, volume, undefined);
    await host.sees(uuid, 'the volume', ({ disks }) => disks.some(({ name }) => name === device));
    const mark = seen.length;
    await types(`dd if=/dev/zero of=/dev/${device} bs=1M count=16 conv=fsync; echo written $((2 + 3))`);
    expect(await event('io-error', mark)).toMatchObject({ uuid, action: 'pause', reason: 'enospc' });
    await stands('suspended', 'io-error', mark);
    expect((await driver.getInfo(uuid)).powerState).toBe('paused');
    execFileSync('mount', ['-o', 'remount,size=64m', small]);
    await driver.unpause(uuid);
    await eventually('the write to end', 60_000, () => host.consoleText(uuid).includes('written 5'));
    expect((await driver.getInfo(uuid)).powerState).toBe('running');
    await driver.detachVolume(instance, volume);
  }, 180_000);

  it('is told to have given memory back, and to have been backed up', async () => {
    const { name, uuid } = instance;
    let mark = seen.length;
    daemon.virsh('setmem', name, '112M', '--live');
    expect(await event('balloon', mark)).toMatchObject({ uuid, memoryKib: expect.any(Number) });
    daemon.virsh('setmem', name, '128M', '--live');
    mark = seen.length;
    daemon.virsh('backup-begin', name);
    const job = await event('job-completed', mark);
    expect(job).toMatchObject({ uuid, operation: 'backup', success: true });
    expect(job.totalBytes).toBeGreaterThan(0n);
    expect(job.processedBytes).toBe(job.totalBytes);
  }, 120_000);

  it('is paused by a watchdog that it does not feed', async () => {
    const { uuid } = instance;
    const mark = seen.length;
    // The device's registers are written by hand: the kernel of the guest need not have its driver.
    await types(
      'cd /sys/bus/pci/devices; for d in *; do [ "$(cat $d/device)" = 0x25ab ] && w=$d; done; echo 1 >$w/enable',
      "base=$(head -n 1 $w/resource | cut -d ' ' -f 1); cd /",
      'unlock() { devmem $((base + 12)) 16 0x80; devmem $((base + 12)) 16 0x86; }',
      'unlock; devmem $base 32 0x400; unlock; devmem $((base + 4)) 32 0x400',
      "printf '\\002' | dd of=/sys/bus/pci/devices/$w/config bs=1 seek=104 conv=notrunc",
    );
    expect(await event('watchdog', mark)).toMatchObject({ uuid, action: 'pause' });
    await stands('suspended', 'watchdog', mark);
    expect((await driver.getInfo(uuid)).powerState).toBe('paused');
    await driver.reboot(instance, 'hard');
    await host.booted(uuid);
  }, 180_000);

  it('is told to have panicked, and is stopped', async () => {
    const { uuid } = instance;
    await eventually('the agent, which starts after the drivers', 60_000, () =>
      driver.pingAgent(uuid).then(
        () => true,
        () => false,
      ),
    );
    const mark = seen.length;
    await types('echo c >/proc/sysrq-trigger');
    await stands('crashed', 'panicked', mark);
    await event('lifecycle', mark, ({ event }) => event === 'stopped');
    expect((await driver.getInfo(uuid)).powerState).toBe('shutdown');
    await driver.powerOn(instance);
  }, 120_000);

  it('is told to be gone when its QEMU is killed', async () => {
    const { uuid } = instance;
    const mark = seen.length;
    for (const pid of qemuProcesses(uuid)) process.kill(pid, 'SIGKILL');
    await event('lifecycle', mark, (one) => one.event === 'stopped' && one.uuid === uuid);
    await eventually('its end', 10_000, async () => (await driver.getInfo(uuid)).powerState === 'shutdown');
  }, 60_000);
});
