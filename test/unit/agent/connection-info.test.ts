// How Cinder says that a host reaches a volume, as a connection of ours; what is no such thing, or leads elsewhere, is refused.
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { volumeConnection } from '../../../src/agent/cinder/connection-info.js';
import { ComputeError } from '../../../src/index.js';

const VOLUME = '0e7c1d3a-54a1-4a0e-9d0f-6f2f6a5f9b11';
const SECRET = '5f0c8c1e-7d0f-4c7e-9a35-0d6b7a1c2e3f';
const EXPORT = '192.0.2.9:/volumes';

const directory = mkdtempSync(join(tmpdir(), 'nct-mounts-'));
const mountBase = join(directory, 'mnt');
const mount = join(mountBase, createHash('md5').update(EXPORT).digest('hex'));
beforeAll(() => {
  mkdirSync(mount, { recursive: true });
  writeFileSync(join(mount, 'volume-1'), '');
  writeFileSync(join(directory, 'secret'), '');
  symlinkSync('../../secret', join(mount, 'link'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const context = { volumeId: VOLUME, instanceUuid: SECRET, multiattach: false, mountBase };
const local = { driver_volume_type: 'local', device_path: '/dev/volumes/one' };
const rbd = {
  driver_volume_type: 'rbd',
  name: 'volumes/volume-1',
  hosts: ['192.0.2.1', '[2001:db8::1]'],
  ports: ['6789', '3300'],
  cluster_name: 'ceph',
  auth_enabled: true,
  auth_username: 'cinder',
  secret_type: 'ceph',
  secret_uuid: SECRET,
  keyring: null,
};
const nfs = { driver_volume_type: 'nfs', export: EXPORT, name: 'volume-1', options: null };

describe('a connection', () => {
  it('to a block device', async () => {
    expect(await volumeConnection(local, context)).toEqual({
      driverVolumeType: 'block',
      data: { path: '/dev/volumes/one' },
      serial: VOLUME,
    });
  });

  it('to Ceph, with and without authentication', async () => {
    const hosts = [
      { name: '192.0.2.1', port: 6789 },
      { name: '2001:db8::1', port: 3300 },
    ];
    const data = { pool: 'volumes', image: 'volume-1', hosts };
    expect(await volumeConnection(rbd, context)).toEqual({
      driverVolumeType: 'rbd',
      data: { ...data, auth: { username: 'cinder', secretUuid: SECRET } },
      serial: VOLUME,
    });
    const open = { ...rbd, auth_enabled: false, auth_username: null, secret_uuid: null };
    expect(await volumeConnection(open, context)).toMatchObject({ data });
  });

  it('to a file of a mount', async () => {
    const path = join(mount, 'volume-1');
    expect(await volumeConnection(nfs, context)).toMatchObject({
      driverVolumeType: 'file',
      data: { path, format: 'raw' },
    });
    expect(await volumeConnection({ ...nfs, format: 'qcow2' }, context)).toMatchObject({
      data: { path, format: 'qcow2' },
    });
    const gpfs = { driver_volume_type: 'gpfs', device_path: path, name: 'x' };
    expect(await volumeConnection(gpfs, context)).toMatchObject({ data: { path, format: 'raw' } });
  });

  it('has the mode, the limits and the sharing that Cinder wants', async () => {
    const qos_specs = {
      total_bytes_sec: '1048576',
      read_iops_sec: 500,
      write_iops_sec: 0,
      total_iops_sec_max: 9,
    };
    const info = { ...local, access_mode: 'ro', discard: true, qos_specs, cacheable: false };
    expect(await volumeConnection(info, { ...context, multiattach: true })).toEqual({
      driverVolumeType: 'block',
      data: { path: '/dev/volumes/one' },
      serial: VOLUME,
      readOnly: true,
      discard: true,
      multiattach: true,
      limits: { totalBytes: 1_048_576, readIops: 500 },
    });
  });
});

const refusal = async (info: object, more: object = {}): Promise<unknown> =>
  await volumeConnection(info as Record<string, unknown>, { ...context, ...more }).then(
    () => undefined,
    (error: unknown) => (error as ComputeError).code,
  );

it.each([
  ['iSCSI', { driver_volume_type: 'iscsi', target_portal: '192.0.2.1:3260' }],
  ['Fibre Channel', { driver_volume_type: 'fibre_channel', target_wwn: [] }],
  ['NVMe', { driver_volume_type: 'nvmeof' }],
  ['an encrypted one', { ...local, encrypted: true }],
  ['a namespace of Ceph', { ...rbd, name: 'volumes/space/volume-1' }],
  ['a secret that is not named', { ...rbd, secret_uuid: null }],
])('%s is not supported', async (_what, info) => expect(await refusal(info)).toBe('UNSUPPORTED'));

it('a file is not supported where no mounts are configured', async () => {
  expect(await refusal(nfs, { mountBase: undefined })).toBe('UNSUPPORTED');
});

it.each([
  ['nothing', {}],
  ['no kind', { ...local, driver_volume_type: ['local'] }],
  ['a path elsewhere', { ...local, device_path: '/etc/shadow' }],
  ['a way out of /dev', { ...local, device_path: '/dev/../etc/shadow' }],
  ['no path', { ...local, device_path: ['/dev/x'] }],
  ['a mode that is none', { ...local, access_mode: 'rwx' }],
  ['limits that are none', { ...local, qos_specs: { total_iops_sec: 'many' } }],
  ['limits below nothing', { ...local, qos_specs: { total_iops_sec: -1 } }],
  ['an image without a pool', { ...rbd, name: 'volume-1' }],
  ['an image with options of QEMU', { ...rbd, name: 'volumes/volume-1:conf=x' }],
  ['no servers', { ...rbd, hosts: [] }],
  ['a server that is none', { ...rbd, hosts: ['a b'] }],
  ['a port that is none', { ...rbd, ports: ['0', 'x'] }],
  ['a secret that is none', { ...rbd, secret_uuid: 'x' }],
  ['a name that leads elsewhere', { ...nfs, name: '../volume-1' }],
  ['a link that leads elsewhere', { ...nfs, name: 'link' }],
  ['a file that is not there', { ...nfs, name: 'volume-2' }],
  ['an export that is not mounted', { ...nfs, export: '192.0.2.9:/other' }],
  ['a path outside of the mounts', { driver_volume_type: 'gpfs', device_path: '/etc/passwd' }],
  ['the mounts themselves', { driver_volume_type: 'gpfs', device_path: '.' }],
])('%s is no connection', async (_what, info) => expect(await refusal(info)).toBe('CINDER_FAILED'));

it('whatever comes is a connection below the places that are allowed, or refused by a code', async () => {
  const text = fc.oneof(
    fc.string(),
    fc.constantFrom('/dev/x', '/etc/passwd', 'volumes/v', EXPORT, 'volume-1', '..', '/dev/../x'),
  );
  const value = fc.oneof(text, fc.anything(), fc.array(text));
  const kind = fc.constantFrom('local', 'rbd', 'nfs', 'gpfs', 'iscsi', '__proto__', 'constructor');
  const keys = ['device_path', 'name', 'hosts', 'ports', 'export', 'format', 'access_mode', 'qos_specs'];
  const info = fc.record({
    driver_volume_type: kind,
    ...Object.fromEntries(keys.map((key) => [key, value])),
  });
  const property = fc.asyncProperty(info, async (given) => {
    try {
      const { driverVolumeType, data } = await volumeConnection(given, context);
      if (driverVolumeType === 'block') expect(data.path).toMatch(/^\/dev\/(?!.*\.\.\/)/);
      if (driverVolumeType === 'file') expect(data.path).toBe(join(mount, 'volume-1'));
    } catch (error) {
      expect(ComputeError.is(error) && error.code).toMatch(/^(UNSUPPORTED|CINDER_FAILED)$/);
    }
  });
  await fc.assert(property, { numRuns: 500 });
});
