// What a release's tarball holds, and what it must not.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Packed, pack, prebuilt, repository, stage } from './staging.js';

describe('the packed tarball', () => {
  let packed: Packed;

  beforeAll(() => {
    packed = pack(stage({ withAddon: true }));
  });

  function missing(wanted: readonly string[]): string[] {
    return wanted.filter((file) => !packed.files.includes(file));
  }

  it('brings the prebuilt addon and the compiled sources with their types', () => {
    expect(missing([prebuilt, 'dist/index.js', 'dist/index.d.ts', 'dist/native.js'])).toEqual([]);
  });

  it('brings every file that its manifest names', () => {
    const manifest: unknown = JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8'));
    const { exports, bin } = manifest as { exports: object; bin: object };
    const named = [
      ...JSON.stringify([exports, bin]).matchAll(/"(?:\.\/)?([^"]+\.(?:js|d\.ts|json))"[,}]/g),
    ].map((match) => match[1] ?? '');
    expect(named.length).toBeGreaterThan(3);
    expect(missing(named)).toEqual([]);
  });

  it('brings all that a build of the addon from source needs', () => {
    const listed = JSON.parse(readFileSync(join(repository, 'native/sources.gypi'), 'utf8')).variables;
    const build = ['binding.gyp', 'native/sources.gypi', 'scripts/build-addon.mjs', 'scripts/libraries.mjs'];
    expect(missing([...build, ...listed.core_sources, ...listed.addon_sources])).toEqual([]);
  });

  it('brings the benchmarks, for node-compute bench', () => {
    expect(
      missing([
        'benchmarks/run.mjs',
        'benchmarks/scenarios/warm-launch.mjs',
        'scripts/private-glance.mjs',
        'scripts/private-libvirtd.mjs',
      ]),
    ).toEqual([]);
  });

  it('brings no tests, no TypeScript sources and nothing of the build', () => {
    const unwanted = packed.files.filter((file) =>
      /^(?:test|src|build|benchmarks\/results|benchmarks\/node_modules|docs|cmake|node_modules)\/|^native\/test\/|\.test\.|^\./.test(
        file,
      ),
    );
    expect(unwanted).toEqual([]);
  });

  it('stays small', () => {
    expect(packed.bytes).toBeLessThan(2 * 1024 * 1024);
  });
});
