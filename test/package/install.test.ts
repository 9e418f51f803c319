// The tarball in an empty project: types, both ways to load it, and what it says where its addon is missing.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { install, pack, prebuilt, repository, run, stage, succeed } from './staging.js';

/** Opening a driver is the first thing that loads the addon. */
const openLibvirt = `
  const { loadDriver } = await import('node-compute');
  try {
    const driver = await loadDriver('libvirt.LibvirtDriver', { uri: 'test:///default', instancesPath: process.cwd() });
    await driver.initHost();
    console.log('opened');
  } catch (error) {
    console.log(error.code, error.message);
  }
  process.exit(0);
`;

function evaluate(project: string, source: string, type: 'module' | 'commonjs' = 'module'): string {
  return succeed(process.execPath, [`--input-type=${type}`, '-e', source], project).trim();
}

describe('an installed package with its prebuilt addon', () => {
  let project: string;

  beforeAll(() => {
    project = install(pack(stage({ withAddon: true })).tarball);
  });

  it('was installed without a build', () => {
    expect(existsSync(join(project, 'node_modules/node-compute', prebuilt))).toBe(true);
    expect(existsSync(join(project, 'node_modules/node-compute/build'))).toBe(false);
  });

  it('loads by import and by require as one and the same module', () => {
    const source = `
      const required = require('node-compute');
      import('node-compute').then((imported) => {
        console.log(typeof imported.loadDriver, imported.ComputeError === required.ComputeError);
      });
    `;
    expect(evaluate(project, source, 'commonjs')).toBe('function true');
  });

  it('does not load the addon before it is needed', () => {
    const source = `
      await import('node-compute');
      const { readFileSync } = await import('node:fs');
      console.log(readFileSync('/proc/self/maps', 'utf8').includes('node_compute.node'));
    `;
    expect(evaluate(project, source)).toBe('false');
  });

  it('finds and loads the prebuilt addon', () => {
    const source = `
      const { native } = await import('./node_modules/node-compute/dist/native.js');
      console.log(native().libvirtVersion() > 0, native().libqcowVersion());
    `;
    expect(evaluate(project, source)).toMatch(/^true \d{8}$/);
  });

  it('gives a TypeScript program its types', () => {
    writeFileSync(
      join(project, 'program.ts'),
      `
      import { ComputeError, loadDriver, type ComputeDriver, type Instance } from 'node-compute';
      export async function names(): Promise<string[]> {
        const driver: ComputeDriver = await loadDriver('fake.FakeDriver');
        const list: Pick<Instance, 'uuid'>[] = [];
        // @ts-expect-error an instance is not a number
        const wrong: Instance = 1;
        return [...list.map(({ uuid }) => uuid), String(wrong), typeof driver, ComputeError.name];
      }
      `,
    );
    const compiler = join(repository, 'node_modules/typescript/bin/tsc');
    const flags = [
      '--noEmit',
      '--strict',
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--lib',
      'es2023,esnext.disposable',
    ];
    const types = ['--typeRoots', join(repository, 'node_modules/@types'), '--types', 'node'];
    const { status, stdout } = run(process.execPath, [compiler, ...flags, ...types, 'program.ts'], project);
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' });
  });

  it('has a command that runs', () => {
    expect(run(join(project, 'node_modules/.bin/node-compute'), ['--version'], project)).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+/),
    });
  });
});

describe('an installed package without an addon', () => {
  let project: string;

  beforeAll(() => {
    project = install(pack(stage({ withAddon: false })).tarball);
  });

  it('runs the fake driver', () => {
    const source = `
      const { loadDriver } = await import('node-compute');
      const driver = await loadDriver('fake.FakeDriver');
      await driver.initHost();
      console.log((await driver.listInstances()).length);
      process.exit(0);
    `;
    expect(evaluate(project, source)).toBe('0');
  });

  it('says what to do when the libvirt driver is opened', () => {
    const said = evaluate(project, openLibvirt);
    expect(said).toMatch(/^HOST_UNSUITABLE /);
    expect(said).toContain('node_compute.node');
    expect(said).toContain('npm run build:addon');
  });

  it('says what its build needs where node-gyp is not installed', () => {
    const { status, stderr } = run(
      'npm',
      ['explore', 'node-compute', '--', 'npm', 'run', 'build:addon'],
      project,
    );
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining('npm install --no-save node-gyp node-addon-api'),
    });
  });
});
