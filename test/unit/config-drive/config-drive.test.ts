// What a guest finds on its config drive: the files of each layout, and what cloud-init makes of them.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { configDriveImage } from '../../../src/config-drive/config-drive.js';
import { hostnameOf } from '../../../src/config-drive/hostname.js';
import { netmask } from '../../../src/config-drive/network-data.js';
import type { ConfigDriveContent, ConfigDriveFormat, Instance } from '../../../src/index.js';
import { filesOfIso, labelOfIso, noReader } from './read-iso.js';

const UUID = 'c0ffee00-1111-4222-8333-444455556666';
const SEED = Buffer.alloc(512, 7);
const STATIC = 'fa:16:3e:00:00:01';
const DYNAMIC = 'fa:16:3e:00:00:02';

const instance: Instance = {
  uuid: UUID,
  id: 10,
  name: 'instance-0000000a',
  displayName: 'Web server_1',
  flavor: { name: 'small', vcpus: 1, memoryMb: 512, rootGb: 1, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
  image: { id: 'i', diskFormat: 'raw', source: { type: 'file', path: '/i' }, properties: {} },
  vifs: [
    {
      id: '11111111-2222-4333-8444-555555555555',
      mac: STATIC,
      bridge: 'br0',
      tap: 'tap11111111-22',
      mtu: 1450,
      addresses: [
        { address: '192.0.2.10', prefixLength: 26, gateway: '192.0.2.1' },
        { address: '2001:db8::10', prefixLength: 64, gateway: '2001:db8::1' },
      ],
      dnsServers: ['192.0.2.53', '2001:db8::53'],
    },
    { id: '22222222-2222-4333-8444-555555555555', mac: DYNAMIC, bridge: 'br0', tap: 'tap22222222-22' },
  ],
  createdAt: '2026-01-31T12:34:56.789Z',
  projectId: 'project',
};

const content: ConfigDriveContent = {
  availabilityZone: 'az1',
  metadata: { role: 'web' },
  userData: Buffer.from('#cloud-config\npackages: [nginx]\n'),
  keys: [{ name: 'mine', publicKey: 'ssh-ed25519 AAAA me' }],
};
const secrets: ConfigDriveContent = {
  adminPassword: 'sesame',
  files: [
    { path: '/etc/motd', contents: Buffer.from('hello\n') },
    { path: '/etc/blob', contents: Buffer.from([0, 255]) },
  ],
};

function drive(format: ConfigDriveFormat, what: ConfigDriveContent, of = instance): Map<string, Buffer> {
  return filesOfIso(configDriveImage(of, format, what, SEED), 'rockridge');
}

const parsed = (files: Map<string, Buffer>, path: string): Record<string, unknown> =>
  JSON.parse(String(files.get(path))) as Record<string, unknown>;

describe("OpenStack's layout", () => {
  it('has the label that is looked for, and the same bytes for the same instance', () => {
    const image = configDriveImage(instance, 'openstack', content, SEED);
    expect(labelOfIso(image)).toBe('config-2');
    expect(configDriveImage(instance, 'openstack', content, SEED)).toEqual(image);
    expect(configDriveImage(instance, 'openstack', content)).not.toEqual(image);
  });

  it('has in each version what that version had', ({ skip }) => {
    if (noReader !== undefined) skip(noReader);
    const files = drive('openstack', { ...content, ...secrets });
    const versions = new Map<string, string[]>();
    for (const path of [...files.keys()].sort()) {
      const at = path.lastIndexOf('/');
      versions.set(path.slice(0, at), [...(versions.get(path.slice(0, at)) ?? []), path.slice(at + 1)]);
    }
    const first = ['meta_data.json', 'user_data'];
    const havana = [...first, 'vendor_data.json'];
    const liberty = ['meta_data.json', 'network_data.json', 'user_data', 'vendor_data.json'];
    const newton = [...liberty, 'vendor_data2.json'];
    expect(Object.fromEntries(versions)).toEqual({
      'ec2/2009-04-04': ['meta-data.json', 'user-data'],
      'ec2/latest': ['meta-data.json', 'user-data'],
      'openstack/2012-08-10': first,
      'openstack/2013-04-04': first,
      'openstack/2013-10-17': havana,
      'openstack/2015-10-15': liberty,
      'openstack/2016-06-30': liberty,
      'openstack/2016-10-06': newton,
      'openstack/2017-02-22': newton,
      'openstack/2018-08-27': newton,
      'openstack/2020-10-14': newton,
      'openstack/latest': newton,
      'openstack/content': ['0000', '0001'],
    });
    const keys = (version: string): string[] =>
      Object.keys(parsed(files, `openstack/${version}/meta_data.json`));
    expect(keys('2012-08-10')).not.toContain('random_seed');
    expect(keys('2013-04-04')).toContain('random_seed');
    expect(keys('2013-10-17')).not.toContain('project_id');
    expect(keys('2015-10-15')).not.toContain('devices');
  });

  it('says in meta_data.json who the instance is and what its user gave it', ({ skip }) => {
    if (noReader !== undefined) skip(noReader);
    const files = drive('openstack', { ...content, ...secrets });
    expect(parsed(files, 'openstack/latest/meta_data.json')).toEqual({
      uuid: UUID,
      meta: { role: 'web' },
      files: [
        { content_path: '/content/0000', path: '/etc/motd' },
        { content_path: '/content/0001', path: '/etc/blob' },
      ],
      admin_pass: 'sesame',
      public_keys: { mine: 'ssh-ed25519 AAAA me' },
      keys: [{ name: 'mine', type: 'ssh', data: 'ssh-ed25519 AAAA me' }],
      hostname: 'web-server-1',
      name: 'Web server_1',
      launch_index: 0,
      availability_zone: 'az1',
      random_seed: SEED.toString('base64'),
      project_id: 'project',
      devices: [STATIC, DYNAMIC].map((mac) => ({ type: 'nic', bus: 'none', address: 'none', mac, tags: [] })),
    });
    expect(files.get('openstack/content/0001')).toEqual(Buffer.from([0, 255]));
    expect(parsed(files, 'ec2/latest/meta-data.json')).toMatchObject({
      'instance-id': 'i-0000000a',
      'local-ipv4': '192.0.2.10',
      'public-keys': { '0': { 'openssh-key': 'ssh-ed25519 AAAA me' } },
    });
  });

  it('says in network_data.json which addresses are fixed, and DHCP for the rest', ({ skip }) => {
    if (noReader !== undefined) skip(noReader);
    const dns = (address: string): object => ({ type: 'dns', address });
    expect(parsed(drive('openstack', {}), 'openstack/latest/network_data.json')).toEqual({
      links: [
        {
          id: 'tap11111111-22',
          vif_id: instance.vifs[0]?.id,
          type: 'bridge',
          ethernet_mac_address: STATIC,
          mtu: 1450,
        },
        { id: 'tap22222222-22', vif_id: instance.vifs[1]?.id, type: 'bridge', ethernet_mac_address: DYNAMIC },
      ],
      networks: [
        {
          id: 'network0',
          link: 'tap11111111-22',
          type: 'ipv4',
          ip_address: '192.0.2.10',
          netmask: '255.255.255.192',
          routes: [{ network: '0.0.0.0', netmask: '0.0.0.0', gateway: '192.0.2.1' }],
          services: [dns('192.0.2.53')],
        },
        {
          id: 'network1',
          link: 'tap11111111-22',
          type: 'ipv6',
          ip_address: '2001:db8::10',
          netmask: 'ffff:ffff:ffff:ffff::',
          routes: [{ network: '::', netmask: '::', gateway: '2001:db8::1' }],
          services: [dns('2001:db8::53')],
        },
        { id: 'network2', link: 'tap22222222-22', type: 'ipv4_dhcp' },
      ],
      services: [dns('192.0.2.53'), dns('2001:db8::53')],
    });
  });

  it('of an instance with nothing to tell has no user data', ({ skip }) => {
    if (noReader !== undefined) skip(noReader);
    const files = drive('openstack', {}, { ...instance, vifs: [] });
    expect([...files.keys()].filter((path) => path.includes('user'))).toEqual([]);
    expect(parsed(files, 'openstack/latest/network_data.json')).toEqual({
      links: [],
      networks: [],
      services: [],
    });
  });
});

describe("NoCloud's layout", () => {
  it('has its label and three files', ({ skip }) => {
    expect(labelOfIso(configDriveImage(instance, 'nocloud', content))).toBe('cidata');
    if (noReader !== undefined) skip(noReader);
    expect([...drive('nocloud', {}).keys()].sort()).toEqual(['meta-data', 'network-config', 'user-data']);
    expect([...drive('nocloud', {}, { ...instance, vifs: [] }).keys()].sort()).toEqual([
      'meta-data',
      'user-data',
    ]);
  });
});

describe('a netmask', () => {
  it.each([
    [0, 32, '0.0.0.0'],
    [20, 32, '255.255.240.0'],
    [32, 32, '255.255.255.255'],
    [0, 128, '::'],
    [56, 128, 'ffff:ffff:ffff:ff00::'],
    [128, 128, 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'],
  ] as const)('of %i bits in %i is %s', (length, bits, expected) => {
    expect(netmask(length, bits)).toBe(expected);
  });
});

describe('a host name', () => {
  it.each([
    ['Web server_1.example', 'web-server-1-example'],
    ['--ä b--', 'b'],
    ['x'.repeat(80), 'x'.repeat(63)],
    ['日本', `server-${UUID}`],
  ])('of %s is %s', (displayName, expected) => {
    expect(hostnameOf({ displayName, uuid: UUID })).toBe(expected);
  });
});

/** The package is for the distribution's own Python. */
const PYTHON = '/usr/bin/python3';
const repository = fileURLToPath(new URL('../../../', import.meta.url));
const environment = {
  ...process.env,
  PYTHONPATH: join(repository, 'build/cloud-init'),
  PYTHONDONTWRITEBYTECODE: '1',
};
const noCloudInit =
  spawnSync(PYTHON, ['-c', 'import cloudinit.sources.DataSourceConfigDrive'], { env: environment }).status ===
  0
    ? noReader
    : 'cloud-init is missing (scripts/setup.sh unpacks it into build/cloud-init)';

describe('cloud-init', () => {
  function read(format: ConfigDriveFormat, what: ConfigDriveContent): Record<string, unknown> {
    const directory = mkdtempSync(join(tmpdir(), 'nct-cloud-init-'));
    try {
      for (const [path, data] of drive(format, what)) {
        mkdirSync(dirname(join(directory, path)), { recursive: true });
        writeFileSync(join(directory, path), data);
      }
      const script = fileURLToPath(new URL('./cloud-init.py', import.meta.url));
      const words = [script, format, directory, `${STATIC}=eth0`, `${DYNAMIC}=eth1`];
      return JSON.parse(execFileSync(PYTHON, words, { env: environment, encoding: 'utf8' })) as Record<
        string,
        unknown
      >;
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  it('takes all of it from a drive in the layout of OpenStack', ({ skip }) => {
    if (noCloudInit !== undefined) skip(noCloudInit);
    const found = read('openstack', { ...content, ...secrets });
    expect(found).toMatchObject({
      version: 2,
      userdata: String(content.userData),
      files: { '/etc/motd': 'hello\n', '/etc/blob': '\0\\xff' },
      metadata: {
        'instance-id': UUID,
        'local-hostname': 'web-server-1',
        public_keys: { mine: 'ssh-ed25519 AAAA me' },
        admin_pass: 'sesame',
        random_seed: String(SEED),
      },
      'ec2-metadata': { 'instance-type': 'small' },
      interfaces: [
        {
          name: 'eth0',
          mtu: 1450,
          subnets: [
            { address: '192.0.2.10', prefix: 26, routes: [{ prefix: 0, gateway: '192.0.2.1' }] },
            { address: '2001:db8::10', prefix: 64, routes: [{ prefix: 0, gateway: '2001:db8::1' }] },
          ],
        },
        { name: 'eth1', subnets: [{ type: 'dhcp4' }] },
      ],
    });
  });

  it('takes all of it from a drive in its own layout', ({ skip }) => {
    if (noCloudInit !== undefined) skip(noCloudInit);
    expect(read('nocloud', content)).toMatchObject({
      'meta-data': {
        'instance-id': UUID,
        'local-hostname': 'web-server-1',
        'availability-zone': 'az1',
        'public-keys': ['ssh-ed25519 AAAA me'],
        meta: { role: 'web' },
      },
      'user-data': String(content.userData),
      interfaces: [
        {
          mac_address: STATIC,
          mtu: 1450,
          subnets: [
            {
              address: '192.0.2.10',
              prefix: 26,
              gateway: '192.0.2.1',
              dns_nameservers: ['192.0.2.53', '2001:db8::53'],
            },
            { address: '2001:db8::10', prefix: 64, gateway: '2001:db8::1' },
          ],
        },
        { mac_address: DYNAMIC, subnets: [{ type: 'dhcp4' }] },
      ],
    });
  });
});
