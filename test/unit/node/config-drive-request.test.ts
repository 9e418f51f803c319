// What a launch request may want on a config drive, and that its secrets come into no journal, log, event or error.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ComputeError, type ConfigDriveRequest, type Logger } from '../../../src/index.js';
import { type ParsedLaunch, parseLaunchRequest } from '../../../src/node/launch-request.js';
import { collect, makeBench, request, UUID } from '../../fault/node-harness.js';

const base64 = (text: string): string => Buffer.from(text).toString('base64');

const parse = (configDrive: unknown): ParsedLaunch => parseLaunchRequest({ ...request(), configDrive });

function problems(value: object): { readonly path: string; readonly message: string }[] {
  try {
    parseLaunchRequest({ ...request(), ...value });
  } catch (error) {
    if (!ComputeError.is(error)) throw error;
    expect(error.code).toBe('INVALID_ARGUMENT');
    return error.details['problems'] as { path: string; message: string }[];
  }
  throw new Error('the request was accepted');
}

const paths = (configDrive: unknown): string[] => problems({ configDrive }).map(({ path }) => path);

describe('a config drive in a launch request', () => {
  it('is decoded, and kept apart from what is journaled', () => {
    const { draft, configDrive } = parse({
      hostname: 'web-1.example.org',
      availabilityZone: 'az',
      metadata: { 'a key': 'value' },
      userData: 'I2Ns\nb3Vk\r\nLWNvbmZpZwo=',
      keys: [{ name: 'mine', publicKey: 'ssh-ed25519 AAAA' }],
      files: [{ path: '/etc/motd', contents: '' }],
      adminPassword: 'sesame',
    });
    expect(draft.configDrive).toBe('openstack');
    expect(JSON.stringify(draft)).not.toContain('sesame');
    expect(configDrive).toEqual({
      hostname: 'web-1.example.org',
      availabilityZone: 'az',
      metadata: { 'a key': 'value' },
      userData: Buffer.from('#cloud-config\n'),
      keys: [{ name: 'mine', publicKey: 'ssh-ed25519 AAAA' }],
      files: [{ path: '/etc/motd', contents: Buffer.alloc(0) }],
      adminPassword: 'sesame',
    });
  });

  it('is there where the request, the image or the node asks for one', () => {
    const { image } = request();
    const mandatory = { ...image, properties: { img_config_drive: 'mandatory' } };
    const optional = { ...image, properties: { img_config_drive: 'optional' } };
    const none = request({ configDrive: undefined } as object);
    const of = (value: object, force?: boolean): string | undefined =>
      parseLaunchRequest(value, undefined, force).draft.configDrive;
    expect(of(none)).toBeUndefined();
    expect(of({ ...none, configDrive: {} })).toBe('openstack');
    expect(of({ ...none, configDrive: { format: 'nocloud' } }, true)).toBe('nocloud');
    expect(of({ ...none, image: mandatory })).toBe('openstack');
    expect(of({ ...none, image: optional })).toBeUndefined();
    expect(of(none, true)).toBe('openstack');
  });

  it.each<[string, unknown, string]>([
    ['no object', 'openstack', 'configDrive'],
    ['an unknown format', { format: 'vfat' }, 'configDrive.format'],
    ['an unknown key', { user_data: '' }, 'configDrive.user_data'],
    ['user data that is no base64', { userData: '#!/bin/sh' }, 'configDrive.userData'],
    ['user data without its padding', { userData: 'YQ' }, 'configDrive.userData'],
    ['user data above 64 KiB', { userData: 'A'.repeat(65_536) }, 'configDrive.userData'],
    ['a host name with a space', { hostname: 'a b' }, 'configDrive.hostname'],
    ['a host name with an empty label', { hostname: 'a..b' }, 'configDrive.hostname'],
    ['a host name that ends with a hyphen', { hostname: 'a-' }, 'configDrive.hostname'],
    ['a relative path', { files: [{ path: 'etc/motd', contents: '' }] }, 'configDrive.files.0.path'],
    ['a path with a NUL', { files: [{ path: '/a\0', contents: '' }] }, 'configDrive.files.0.path'],
    [
      'a file that is too large',
      { files: [{ path: '/a', contents: 'A'.repeat(87_388) }] },
      'configDrive.files.0.contents',
    ],
    [
      'two files at one path',
      { files: [1, 2].map(() => ({ path: '/a', contents: '' })) },
      'configDrive.files',
    ],
    [
      'too many files',
      { files: Array.from({ length: 17 }, (_, i) => ({ path: `/${i}`, contents: '' })) },
      'configDrive.files',
    ],
    ['two keys of one name', { keys: [1, 2].map(() => ({ name: 'a', publicKey: 'b' })) }, 'configDrive.keys'],
    ['a key of two lines', { keys: [{ name: 'a', publicKey: 'b\nc' }] }, 'configDrive.keys.0.publicKey'],
    ['a metadata value that is long', { metadata: { a: 'x'.repeat(256) } }, 'configDrive.metadata.a'],
    ['an empty password', { adminPassword: '' }, 'configDrive.adminPassword'],
    ['a password for NoCloud', { format: 'nocloud', adminPassword: 'a' }, 'configDrive'],
    ['a file for NoCloud', { format: 'nocloud', files: [{ path: '/a', contents: '' }] }, 'configDrive'],
  ])('is refused with %s', (_what, configDrive, path) => {
    expect(paths(configDrive)).toEqual([path]);
  });

  it('is refused without repeating a value', () => {
    const secret = 'sesame\0';
    expect(
      JSON.stringify(
        problems({ configDrive: { userData: secret, adminPassword: secret, hostname: secret } }),
      ),
    ).not.toContain('sesame');
  });

  it('never gets past its schema as anything else than a drive or a refusal', () => {
    fc.assert(
      fc.property(fc.object({ maxDepth: 2 }), (configDrive) => {
        try {
          expect(parse(configDrive).draft.configDrive).toMatch(/^(openstack|nocloud)$/);
        } catch (error) {
          if (!ComputeError.is(error)) throw error;
          expect(error.code).toBe('INVALID_ARGUMENT');
        }
      }),
    );
  });
});

describe('the addresses of a network', () => {
  const of = (network: object): string[] => problems({ networks: [network] }).map(({ path }) => path);

  it('become those of the interface', () => {
    const network = {
      addresses: [{ address: '192.0.2.1', prefixLength: 24, gateway: '192.0.2.254' }],
      dnsServers: ['2001:db8::53'],
    };
    expect(parseLaunchRequest({ ...request(), networks: [network] }).draft.vifs[0]).toMatchObject(network);
  });

  it.each<[string, object, string]>([
    ['no address', { addresses: [{ address: 'a', prefixLength: 1 }] }, 'networks.0.addresses.0.address'],
    [
      'a zone',
      { addresses: [{ address: 'fe80::1%eth0', prefixLength: 1 }] },
      'networks.0.addresses.0.address',
    ],
    ['a long prefix', { addresses: [{ address: '192.0.2.1', prefixLength: 33 }] }, 'networks.0.addresses.0'],
    [
      'a gateway of the other version',
      { addresses: [{ address: '192.0.2.1', prefixLength: 24, gateway: '::1' }] },
      'networks.0.addresses.0',
    ],
    ['a name for a server', { dnsServers: ['dns.example.org'] }, 'networks.0.dnsServers.0'],
  ])('are refused with %s', (_what, network, path) => {
    expect(of(network)).toEqual([path]);
  });
});

describe('the secrets of a config drive', () => {
  const configDrive: ConfigDriveRequest = {
    userData: base64('user-data-secret'),
    adminPassword: 'password-secret',
    files: [{ path: '/etc/secret', contents: base64('file-secret') }],
  };
  const secrets = ['user-data-secret', 'password-secret', 'file-secret'].flatMap((one) => [one, base64(one)]);

  it('are on the drive alone, which its owner alone may read', async () => {
    const bench = makeBench();
    const said: unknown[] = [];
    const say = (...line: unknown[]): void => void said.push(line);
    const logger: Logger = { debug: say, info: say, warn: say, error: say };
    const node = await bench.open({ logger });
    const events = collect(node);
    const result = await node.launch(request({ configDrive }));
    const beside = JSON.stringify([said, events, result, await node.get(UUID)], (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    const journal = readFileSync(join(bench.path, 'journal', UUID), 'utf8');
    for (const secret of secrets) expect(beside + journal).not.toContain(secret);
    expect(journal).toContain('"configDrive":"openstack"');
    const drive = join(bench.path, UUID, 'disk.config');
    expect(statSync(drive).mode & 0o777).toBe(0o600);
    const image = readFileSync(drive, 'latin1');
    for (const secret of ['user-data-secret', 'password-secret', 'file-secret'])
      expect(image).toContain(secret);
    await node.terminate(UUID);
    expect(bench.left()).toEqual([]);
  });

  it('are in no error of a launch that fails', async () => {
    const bench = makeBench();
    const node = await bench.open();
    bench.faults.add({ at: 'spawn.start', fail: new ComputeError('START_FAILED', 'planted') });
    const error = await node.launch(request({ configDrive })).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'START_FAILED' });
    for (const secret of secrets) expect(JSON.stringify(error)).not.toContain(secret);
    expect(bench.left()).toEqual([]);
  });

  it('are not needed by a node that takes the instance over: it knows there is a drive', async () => {
    const bench = makeBench();
    const first = await bench.open();
    await first.launch(request({ configDrive }));
    await first.close();
    const second = await bench.open();
    expect(second.recoveries).toMatchObject([{ action: 'adopted' }]);
    await second.reboot(UUID, 'hard');
    expect(statSync(join(bench.path, UUID, 'disk.config')).size).toBeGreaterThan(0);
  });

  it('a forced drive is made for an instance that did not ask', async () => {
    const bench = makeBench();
    const node = await bench.open({ forceConfigDrive: true });
    await node.launch(request({ configDrive: undefined } as object));
    expect(statSync(join(bench.path, UUID, 'disk.config')).size).toBeGreaterThan(0);
  });
});
