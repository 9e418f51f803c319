// Builds build/Release/node_compute.node with node-gyp, against the headers that stand beside this Node.js where they do.
// In a clone `npm install` runs it; an installed package without a prebuilt addon is built by running it by hand.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

function run(script, ...args) {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

run(join(root, 'scripts/libraries.mjs'));
const require = createRequire(import.meta.url);
for (const name of ['node-gyp', 'node-addon-api']) {
  try {
    require.resolve(`${name}/package.json`);
  } catch {
    console.error(
      'node-compute: the build of the addon needs: npm install --no-save node-gyp node-addon-api',
    );
    process.exit(1);
  }
}
const nodeGyp = require.resolve('node-gyp/bin/node-gyp.js');
const nodeDirectory = dirname(dirname(process.execPath));
const headers = existsSync(join(nodeDirectory, 'include/node/node_api.h'))
  ? [`--nodedir=${nodeDirectory}`]
  : [];
const jobs = ['--jobs', String(availableParallelism())];
// `configure` rewrites the makefiles only where they changed, so that a second build compiles nothing.
run(nodeGyp, 'configure', '--silent', ...headers);
run(nodeGyp, 'build', '--silent', ...jobs, ...headers);
