// How the addon is linked: the libraries it calls directly, its hardening, and what its build says where headers are missing.
import { beforeAll, describe, expect, it } from 'vitest';
import { addon, repository, run, succeed, temporaryDirectory } from './staging.js';

describe('the addon', () => {
  let dynamic: string;
  let headers: string;

  beforeAll(() => {
    dynamic = succeed('readelf', ['--dynamic', '--wide', addon], repository);
    headers = succeed('readelf', ['--program-headers', '--wide', addon], repository);
  });

  it('links directly to libvirt and libqcow', () => {
    const needed = [...dynamic.matchAll(/\(NEEDED\).*\[(.+)\]/g)].map((match) => match[1]);
    expect(needed).toEqual(expect.arrayContaining(['libvirt.so.0', 'libqcow.so.1']));
  });

  it('is fully relocated before it runs and never unloaded', () => {
    expect(dynamic).toMatch(/\(FLAGS\).*BIND_NOW|\(FLAGS_1\).*NOW/);
    expect(dynamic).toMatch(/\(FLAGS_1\).*NODELETE/);
    expect(headers).toContain('GNU_RELRO');
    expect(headers).toMatch(/GNU_STACK.* RW /);
  });

  it('takes no library from beside itself or from a place of the machine that built it', () => {
    expect(dynamic).not.toMatch(/RPATH|RUNPATH/);
  });

  it('calls no libvirt function that libvirt 9.0 lacks', () => {
    const symbols = succeed('readelf', ['--version-info', '--wide', addon], repository);
    const versions = [...symbols.matchAll(/Name: LIBVIRT_(\d+)\.(\d+)\.\d+/g)].map((match) =>
      Number(match[1]),
    );
    expect(versions.length).toBeGreaterThan(0);
    expect(Math.max(...versions)).toBeLessThanOrEqual(9);
  });

  it('exports what Node.js looks up and nothing of its own core', () => {
    const symbols = succeed(
      'nm',
      ['--dynamic', '--defined-only', '--format=just-symbols', addon],
      repository,
    );
    expect(symbols.trim().split('\n').sort()).toEqual([
      'napi_register_module_v1',
      'node_api_module_get_api_version_v1',
    ]);
  });
});

describe('scripts/libraries.mjs', () => {
  it('names the packages of Debian and Fedora where headers are missing', () => {
    const empty = temporaryDirectory('pkgconfig');
    const { status, stderr } = run(process.execPath, ['scripts/libraries.mjs'], repository, {
      PKG_CONFIG_LIBDIR: empty,
      PKG_CONFIG_PATH: '',
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /apt-get install .*libvirt-dev libqcow-dev libnl-route-3-dev nettle-dev libdeflate-dev libzstd-dev/,
    );
    expect(stderr).toMatch(
      /dnf install .*libvirt-devel libqcow-devel libnl3-devel nettle-devel libdeflate-devel libzstd-devel/,
    );
  });

  it('names pkg-config where that is missing', () => {
    const { status, stderr } = run(process.execPath, ['scripts/libraries.mjs'], repository, {
      PATH: temporaryDirectory('bin'),
    });
    expect(status).toBe(1);
    expect(stderr).toMatch(/apt-get install .*pkg-config/);
  });
});
