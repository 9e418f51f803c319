// The checks of the sources find what they are for; each is shown a small tree with one thing wrong.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Outcome, repository, run, temporaryDirectory } from './staging.js';

function check(script: string, files: Readonly<Record<string, string>>): Outcome {
  const tree = temporaryDirectory('tree');
  for (const [file, text] of Object.entries(files)) {
    mkdirSync(dirname(join(tree, file)), { recursive: true });
    writeFileSync(join(tree, file), text);
  }
  return run(process.execPath, [join(repository, 'scripts', script), tree], repository);
}

function sources(core: readonly string[], addon: readonly string[] = []): string {
  return JSON.stringify({ variables: { core_sources: core, addon_sources: addon } });
}

describe('check-sources', () => {
  const good = {
    'native/sources.gypi': sources(['native/image/a.cc'], ['native/addon/b.cc']),
    'native/image/a.cc': '#include "image/a.h"\n',
    'native/addon/b.cc': '#include <napi.h>\n',
    'native/test/a_test.cc': '',
  };

  it('accepts a tree whose sources are all listed', () => {
    expect(check('check-sources.mjs', good)).toMatchObject({ status: 0, stderr: '' });
  });

  it.each([
    ['a source that is not listed', { 'native/image/c.cc': '' }, /native\/image\/c\.cc is not in/],
    [
      'a listed source that does not exist',
      { 'native/sources.gypi': sources(['native/image/a.cc', 'native/x.cc'], ['native/addon/b.cc']) },
      /native\/x\.cc is listed but/,
    ],
    [
      'a Node.js header outside native/addon',
      { 'native/image/a.h': '  #  include "node_api.h"\n' },
      /native\/image\/a\.h includes a Node\.js header/,
    ],
    [
      'an addon source among those of the core',
      { 'native/sources.gypi': sources(['native/image/a.cc', 'native/addon/b.cc']) },
      /native\/addon\/b\.cc is no core source/,
    ],
  ])('refuses %s', (_, change, message) => {
    expect(check('check-sources.mjs', { ...good, ...change })).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(message),
    });
  });
});

describe('check-layers', () => {
  const good = {
    'src/driver/model.ts': 'export interface Instance { uuid: string }\n',
    'src/libvirt/driver.ts':
      "// import './nothing.js'\nimport type { Instance } from '../driver/model.js';\nexport type A = Instance;\n",
    'src/fake/driver.ts': 'export const fake = 1;\n',
  };

  it('accepts imports along the layers', () => {
    expect(check('check-layers.mjs', good)).toMatchObject({ status: 0, stderr: '' });
  });

  it.each([
    [
      'a driver that imports another, if only a type',
      { 'src/libvirt/b.ts': "import type { fake } from '../fake/driver.js';\n" },
      /libvirt may not import fake/,
    ],
    [
      'an import against the layers',
      { 'src/driver/b.ts': "export * from '../libvirt/driver.js';\n" },
      /driver may not import libvirt/,
    ],
    [
      'an import at run time against the layers',
      { 'src/driver/b.ts': "await import('../libvirt/driver.js');\n" },
      /driver may not import libvirt/,
    ],
    [
      'a cycle',
      { 'src/fake/a.ts': "import './b.js';\n", 'src/fake/b.ts': "import './a.js';\n" },
      /import cycle: src\/fake\/a\.ts -> src\/fake\/b\.ts -> src\/fake\/a\.ts/,
    ],
    ['an import of no file', { 'src/fake/a.ts': "import './gone.js';\n" }, /gone\.js names no file/],
    ['a layer that nobody drew', { 'src/helpers/a.ts': '' }, /layer helpers is not in the table/],
    ['a file of more than 500 lines', { 'src/fake/a.ts': '\n'.repeat(501) }, /501 lines, at most 500/],
    [
      'a second place that loads the addon',
      { 'src/node/a.ts': "require('./node_compute.node');\n" },
      /only src\/native\.ts loads/,
    ],
  ])('refuses %s', (_, change, message) => {
    expect(check('check-layers.mjs', { ...good, ...change })).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(message),
    });
  });
});
