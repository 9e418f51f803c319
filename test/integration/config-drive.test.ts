// Config drives, by the word of guests that mounted them, and by what is left of their secrets elsewhere.
import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ComputeError,
  ComputeNode,
  type ConfigDriveRequest,
  type LaunchRequest,
  type Logger,
  type NodeEvent,
} from '../../src/index.js';
import { eventually, GUEST_IMAGE, TestHost } from '../support/host.js';

const PASSWORD = 'sesame-open-4711';
const USER_DATA = Buffer.from('#cloud-config\n# only-for-the-guest\n');
const digest = createHash('sha256').update(USER_DATA).digest('hex');

const host = new TestHost();
const said: string[] = [];
const say = (message: string, fields?: object): void => void said.push(JSON.stringify([message, fields]));
const logger: Logger = { debug: say, info: say, warn: say, error: say };
let node: ComputeNode;

beforeAll(async () => {
  node = await ComputeNode.open({
    instancesPath: host.instancesPath,
    driverOptions: { root: host.root },
    logger,
  });
  void (async () => {
    for await (const event of node.events()) say('event', event satisfies NodeEvent);
  })();
});

afterAll(async () => {
  await node.close();
  host.dispose();
});

function request(configDrive: ConfigDriveRequest, properties: Record<string, string> = {}): LaunchRequest {
  return {
    uuid: randomUUID(),
    name: 'guest',
    flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
    image: { id: 'guest', diskFormat: 'qcow2', source: { type: 'file', path: GUEST_IMAGE }, properties },
    configDrive,
  };
}

const drive = (uuid: string): string => join(host.instancesPath, uuid, 'disk.config');

/** All files but the drive itself, the images and what the guest wrote. */
function textBeside(uuid: string): string {
  const names = [join('journal', uuid), join(uuid, 'libvirt.xml'), join(uuid, 'disk.info')];
  return [...names.map((name) => readFileSync(join(host.instancesPath, name), 'utf8')), ...said].join('\n');
}

describe('a config drive', () => {
  it('is mounted by the guest, again after a hard reboot, and its secrets are on it alone', async () => {
    const one = request({
      userData: USER_DATA.toString('base64'),
      adminPassword: PASSWORD,
      files: [{ path: '/etc/motd', contents: Buffer.from(PASSWORD).toString('base64') }],
    });
    const { instance } = await node.launch(one);
    const { uuid } = instance;
    const guest = await host.booted(uuid);
    expect(guest.configDrive).toEqual({ uuid, userDataSha256: digest });
    expect(guest.disks[1]).toMatchObject({
      name: 'sr0',
      content: { type: 'iso9660', label: 'config-2' },
    });
    expect(statSync(drive(uuid)).mode & 0o777).toBe(0o600);
    // QEMU's user, as of its other disks, for as long as it runs.
    expect(statSync(drive(uuid)).uid).toBe(statSync(join(host.instancesPath, uuid, 'disk')).uid);
    const written = readFileSync(drive(uuid), 'latin1');
    expect(written).toContain(PASSWORD);
    const beside = textBeside(uuid);
    for (const secret of [PASSWORD, Buffer.from(PASSWORD).toString('base64'), 'only-for-the-guest']) {
      expect(beside).not.toContain(secret);
    }
    expect(beside).not.toContain(USER_DATA.toString('base64'));
    await node.reboot(uuid, 'hard');
    await eventually('the second boot', 90_000, () =>
      host.consoleText(uuid).split(`"userDataSha256":"${digest}"`).length === 3 ? true : undefined,
    );
    expect(readFileSync(drive(uuid), 'latin1')).toBe(written);
    await node.terminate(uuid);
    expect(host.remains()).toEqual([]);
  });

  it('in the layout of NoCloud, on another bus', async () => {
    const one = request(
      { format: 'nocloud', userData: USER_DATA.toString('base64') },
      { hw_cdrom_bus: 'scsi', hw_machine_type: 'q35' },
    );
    const { uuid } = (await node.launch(one)).instance;
    const guest = await host.booted(uuid);
    expect(guest.configDrive).toEqual({ uuid, userDataSha256: digest });
    expect(guest.disks[1]).toMatchObject({ name: 'sr0', content: { label: 'cidata' } });
    await node.terminate(uuid);
    expect(host.remains()).toEqual([]);
  });

  it('that an image demands is there without being asked for', async () => {
    const { uuid } = (
      await node.launch({
        ...request({}, { img_config_drive: 'mandatory' }),
        configDrive: undefined,
      } as unknown as LaunchRequest)
    ).instance;
    expect(statSync(drive(uuid)).size).toBeGreaterThan(2048 * 20);
    await node.terminate(uuid);
  });

  it('of a launch that fails at the start of QEMU is gone', async () => {
    const failing = request({ adminPassword: PASSWORD }, { hw_machine_type: 'pc-i440fx-99.9' });
    const error = await node.launch(failing).catch((reason: unknown) => reason as ComputeError);
    expect(String(error)).toContain('pc-i440fx-99.9');
    expect(JSON.stringify(error)).not.toContain(PASSWORD);
    expect(host.remains()).toEqual([]);
    expect(readdirSync(join(host.instancesPath, 'journal'))).toEqual([]);
  });
});
