// What an import loads, as packages by name: each costs every process that uses the library memory.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

const HOOKS = `
  import { writeSync } from 'node:fs';
  export function load(url, context, next) {
    writeSync(1, url + '\\n');
    return next(url, context);
  }`;

/** Of a fresh process that imports these files of dist/. */
async function packagesOf(...files: readonly string[]): Promise<Set<string>> {
  const urls = files.map((file) => new URL(`../../../dist/${file}`, import.meta.url).href);
  const source = `
    import { register } from 'node:module';
    register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(HOOKS)}`)});
    for (const url of ${JSON.stringify(urls)}) await import(url);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', source]);
  expect(stdout.split('\n')).toEqual(expect.arrayContaining(urls));
  return new Set([...stdout.matchAll(/\/node_modules\/([^/\n]+)\//g)].map(([, name = '']) => name));
}

it('loads valibot and no other package with the library and its drivers', async () => {
  expect(await packagesOf('index.js', 'libvirt/libvirt-driver.js')).toEqual(new Set(['valibot']));
});

it('loads undici with an image over HTTP, commander with the command line', async () => {
  expect(await packagesOf('image/http-agent.js')).toContain('undici');
  expect(await packagesOf('cli/commands/list.js')).toContain('commander');
});
