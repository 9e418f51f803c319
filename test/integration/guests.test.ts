// Suspend, the guest agent, consoles and diagnostics on real guests, by what they print: embedded, and on a private libvirtd.
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { ComputeError } from '../../src/driver/errors.js';
import type { DriverEvent, Instance } from '../../src/driver/model.js';
import { LibvirtDriver } from '../../src/libvirt/libvirt-driver.js';
import { atPrompt, type } from '../support/guest-console.js';
import { eventually, qemuProcesses, TestHost } from '../support/host.js';

const LOG_MAX = 64 * 1024;

interface Setting {
  readonly host: TestHost;
  driver: LibvirtDriver;
  /** Another one on the same libvirt. */
  readonly makeDriver: () => LibvirtDriver;
  /** Where libvirt keeps the memory of suspended instances. */
  readonly saved: string;
  readonly stop: () => void;
}

const settings: Readonly<Record<string, () => Promise<Setting>>> = {
  async embedded() {
    const host = new TestHost();
    const makeDriver = () => new LibvirtDriver(host.options({ consoleLogMaxBytes: LOG_MAX }));
    const saved = `${host.root}/lib/qemu/save`;
    return { host, driver: makeDriver(), makeDriver, saved, stop: () => undefined };
  },
  async daemon() {
    const host = new TestHost();
    const daemon = await PrivateLibvirtd.start(`${host.directory}/d`);
    const { instancesPath } = host;
    const makeDriver = () =>
      new LibvirtDriver({ instancesPath, uri: daemon.uri, consoleLogMaxBytes: LOG_MAX });
    return { host, driver: makeDriver(), makeDriver, saved: host.directory, stop: () => daemon.stop() };
  },
};

describe.each(Object.entries(settings))('a guest on libvirt, %s', (_name, make) => {
  let setting: Setting;
  let instance: Instance;
  const events: DriverEvent[] = [];

  beforeAll(async () => {
    setting = await make();
    const { driver, host } = setting;
    await driver.initHost();
    void (async () => {
      for await (const event of driver.events()) events.push(event);
    })();
    const plain = host.instance();
    instance = { ...plain, image: { ...plain.image, properties: { hw_qemu_guest_agent: 'yes' } } };
    await driver.spawn(instance);
    await host.booted(instance.uuid);
  }, 120_000);

  afterAll(async () => {
    await setting?.driver.destroy(instance);
    await setting?.driver.close();
    setting?.stop();
    setting?.host.dispose();
  });

  const did = async (what: RegExp): Promise<RegExpExecArray> =>
    await eventually(`the agent to have done ${what}`, 30_000, () => {
      const lines = setting.host.consoleText(instance.uuid).match(/"event":"AGENT","did":"[^"]*"/g) ?? [];
      return lines.map((line) => what.exec(line)).find((match) => match !== null);
    });

  it('is found by its agent, which sets passwords, time and freezes', async () => {
    const { driver } = setting;
    const { uuid } = instance;
    await eventually('the agent', 30_000, () =>
      driver.pingAgent(uuid).then(
        () => true,
        () => false,
      ),
    );
    await driver.setAdminPassword(instance, 'a "secret" & <more>');
    await did(/password root a "/);
    await driver.setAdminPassword(instance, 'pässword', { user: 'clouduser' });
    await did(/password clouduser pässword/);
    await driver.setGuestTime(uuid);
    const [, seconds] = await did(/time (\d+)/);
    expect(Math.abs(Number(seconds) - Date.now() / 1000)).toBeLessThan(60);
    expect(await driver.quiesce(uuid)).toBe(1);
    expect(await driver.unquiesce(uuid)).toBe(1);
    await did(/freeze/);
    await did(/thaw/);
    for (const password of ['', 'nul\0', 'x'.repeat(5000)]) {
      const refused = await driver.setAdminPassword(instance, password).catch((error: unknown) => error);
      expect(refused).toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect(ComputeError.is(refused) && password !== '' && refused.message.includes(password)).toBe(false);
    }
  }, 60_000);

  it('has figures of its CPUs, disks, interfaces and memory', async () => {
    const figures = await setting.driver.getDiagnostics(instance.uuid);
    expect(figures).toMatchObject({
      state: 'running',
      driver: 'libvirt',
      hypervisorOs: 'linux',
      configDrive: false,
      numCpus: 1,
      numNics: 1,
      numDisks: 1,
      nicDetails: [{ macAddress: instance.vifs[0]?.mac }],
      diskDetails: [{ name: 'vda' }],
      memoryDetails: { maximumMib: 128, usedMib: 128 },
    });
    expect(figures.cpuDetails[0]?.timeNs).toBeGreaterThan(0n);
    expect(figures.diskDetails[0]?.readBytes).toBeGreaterThan(1_000_000n);
    expect(figures.uptimeSeconds).toBeLessThan(600);
  });

  it('tells where VNC listens, has no SPICE, and shows its screen', async () => {
    const { driver } = setting;
    const { host, port } = await driver.getVncConsole(instance.uuid);
    expect(host).toBe('127.0.0.1');
    const socket = connect(port, host);
    const [greeting] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    expect(greeting.toString()).toMatch(/^RFB 003/);
    await expect(driver.getSpiceConsole(instance.uuid)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    await expect(driver.getSerialConsole(instance.uuid)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
    const picture = await driver.getScreenshot(instance.uuid);
    expect([picture.mimeType, picture.data.length > 1000]).toEqual([expect.stringMatching(/^image\//), true]);
  });

  it('has a live console: what is typed is answered, one reader at a time, and an NMI is seen', async () => {
    const { driver } = setting;
    const { uuid } = instance;
    const console = await driver.openConsole(uuid);
    await expect(driver.openConsole(uuid)).rejects.toMatchObject({ code: 'INSTANCE_BUSY' });
    expect(await type(console, 'echo $((6 * 7))x', /42x/)).toMatch(/42x/);
    const before = await nmis(console);
    await driver.triggerCrashDump(uuid);
    expect(await nmis(console)).toBeGreaterThan(before);
    const other = await driver.openConsole(uuid, { force: true });
    expect(await type(other, 'echo still $((1 + 1))', /still 2/)).toMatch(/still 2/);
    console.destroy();
    other.destroy();
    await once(other, 'close');
  }, 60_000);

  it('is suspended to disk and resumed as it was, with its clock set', async () => {
    const { driver } = setting;
    const { uuid } = instance;
    const console = await driver.openConsole(uuid);
    await type(console, 'word=kept', /word=kept/);
    const ended = once(console, 'close');
    console.resume();
    await driver.suspend(uuid);
    await ended;
    await driver.suspend(uuid);
    expect((await driver.getInfo(uuid)).powerState).toBe('suspended');
    expect((await driver.listInstances()).map(({ powerState }) => powerState)).toEqual(['suspended']);
    expect(qemuProcesses(uuid)).toEqual([]);
    await expect(driver.powerOff(uuid)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(driver.pause(uuid)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(driver.pingAgent(uuid)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(driver.getDiagnostics(uuid)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    const clockSet = (): number => setting.host.consoleText(uuid).match(/"did":"time \d+"/g)?.length ?? 0;
    const before = clockSet();
    await driver.resume(instance);
    await driver.resume(instance);
    await eventually('the clock to be set', 10_000, () => clockSet() > before);
    const again = await driver.openConsole(uuid);
    expect(await type(again, 'echo $word$((20 + 3))', /kept23/)).toMatch(/kept23/);
    again.destroy();
    await once(again, 'close');
  }, 60_000);

  it('runs on where a suspend is aborted, at whatever moment', async () => {
    const { driver } = setting;
    const { uuid } = instance;
    for (const delayMs of [0, 5, 20, 60]) {
      const controller = new AbortController();
      const suspend = driver.suspend(uuid, { signal: controller.signal });
      setTimeout(() => controller.abort(), delayMs);
      const outcome = await suspend.then(
        () => 'suspended',
        (error: unknown) => (ComputeError.is(error) ? error.code : String(error)),
      );
      expect(['suspended', 'ABORTED']).toContain(outcome);
      const { powerState } = await driver.getInfo(uuid);
      expect(powerState).toBe(outcome === 'suspended' ? 'suspended' : 'running');
      await driver.resume(instance);
    }
    const console = await driver.openConsole(uuid);
    expect(await type(console, 'echo $word$((20 + 4))', /kept24/)).toMatch(/kept24/);
    console.destroy();
  }, 60_000);

  it('boots anew, with an event, where its memory cannot be loaded', async () => {
    const { driver, host, saved } = setting;
    const { uuid } = instance;
    await driver.suspend(uuid);
    const [file] = readdirSync(saved, { recursive: true, encoding: 'utf8' }).filter((name) =>
      name.endsWith('.save'),
    );
    const path = `${saved}/${file}`;
    const bytes = readFileSync(path);
    writeFileSync(path, bytes.subarray(0, bytes.length >> 1));
    const boots = booted(host, uuid);
    await driver.resume(instance);
    expect((await driver.getInfo(uuid)).powerState).toBe('running');
    expect(events.filter((event) => event.type === 'saved-state-lost')).toMatchObject([{ uuid }]);
    await eventually('the guest to boot anew', 60_000, () => booted(host, uuid) > boots);
  }, 90_000);

  it('is told from one whose agent hangs, and is then shut down by its power button', async () => {
    const { driver } = setting;
    const { uuid } = instance;
    await eventually('the agent', 30_000, () =>
      driver.pingAgent(uuid).then(
        () => true,
        () => false,
      ),
    );
    const console = await driver.openConsole(uuid);
    await type(console, 'kill -STOP $(cat /run/agent); echo stopped $((2 + 2))', /stopped 4/);
    const silent = await driver.pingAgent(uuid, { timeoutMs: 1000 }).catch((error: unknown) => error);
    expect(silent).toMatchObject({
      code: 'AGENT_UNAVAILABLE',
      retryable: true,
      details: { reason: 'silent' },
    });
    const controller = new AbortController();
    const aborted = driver.quiesce(uuid, { signal: controller.signal }).catch((error: unknown) => error);
    controller.abort();
    expect(await aborted).toMatchObject({ code: 'ABORTED' });
    await type(console, 'kill -CONT $(cat /run/agent); echo again $((2 + 3))', /again 5/);
    const ended = once(console, 'close');
    console.resume();
    await driver.powerOff(uuid, { shutdownTimeoutMs: 20_000 });
    await ended;
    await did(/shutdown/);
    const calls = [
      driver.openConsole(uuid),
      driver.getVncConsole(uuid),
      driver.triggerCrashDump(uuid),
      driver.resume(instance),
      driver.suspend(uuid),
    ];
    const refused = await Promise.allSettled(calls);
    expect(refused.map((one) => one.status === 'rejected' && (one.reason as ComputeError).code)).toEqual(
      calls.map(() => 'INVALID_STATE'),
    );
    await driver.resumeStateOnHostBoot(instance);
    await driver.resumeStateOnHostBoot(instance);
    expect((await driver.getInfo(uuid)).powerState).toBe('running');
  }, 90_000);

  it('cannot fill the disk by its console: what is old goes, and the end is still told', async () => {
    const { driver, host } = setting;
    const { uuid } = instance;
    const log = `${host.instancesPath}/${uuid}/console.log`;
    const console = await driver.openConsole(uuid);
    await atPrompt(console);
    console.resume();
    console.write(
      'i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo line-$i-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done; echo last-$((1+1))\n',
    );
    const text = await eventually('the last line', 60_000, async () => {
      const tail = Buffer.from(await driver.getConsoleOutput(uuid, { maxBytes: 100_000 })).toString();
      return tail.includes('last-2') && tail;
    });
    // Each line of the last 100000 bytes is there, in order, over both files.
    const lines = [...text.matchAll(/^line-(\d+)-x+\r$/gm)].map(([, number]) => Number(number));
    expect(lines.length).toBeGreaterThan(1500);
    expect(lines).toEqual(lines.map((_, index) => (lines[0] ?? 0) + index));
    await eventually('the log to be bounded', 10_000, () => statSync(log).size <= LOG_MAX);
    expect(statSync(`${log}.0`).size).toBeLessThanOrEqual(LOG_MAX + 8192);
    console.destroy();
  }, 90_000);

  it('ends its console and a suspend under way when QEMU is killed', async () => {
    const { driver } = setting;
    const { uuid } = instance;
    const console = await driver.openConsole(uuid);
    const ended = once(console, 'close');
    console.resume();
    const suspend = driver.suspend(uuid).catch((error: unknown) => error);
    for (const pid of qemuProcesses(uuid)) process.kill(pid, 'SIGKILL');
    await ended;
    await suspend;
    await eventually('the state', 20_000, async () => (await driver.getInfo(uuid)).powerState !== 'running');
    await driver.powerOn(instance);
    expect((await driver.getInfo(uuid)).powerState).toBe('running');
  }, 60_000);

  it('lets go of its console when the driver is closed', async () => {
    const { driver, makeDriver } = setting;
    const console = await driver.openConsole(instance.uuid);
    const ended = once(console, 'close');
    await driver.close();
    await ended;
    setting.driver = makeDriver();
    await setting.driver.initHost();
    const again = await setting.driver.openConsole(instance.uuid);
    again.destroy();
    await once(again, 'close');
  }, 30_000);
});

function booted(host: TestHost, uuid: string): number {
  return host.consoleText(uuid).match(/"event":"BOOTED"/g)?.length ?? 0;
}

async function nmis(console: Duplex): Promise<number> {
  const text = await type(console, 'grep NMI: /proc/interrupts; echo end $((3 + 4))', /end 7/);
  return Number(/NMI:\s+(\d+)/.exec(text)?.[1]);
}
