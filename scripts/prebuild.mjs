// Copies the addon, without its debug information, to prebuilds/linux-<arch>/, where an installed package looks for it.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const target = join(root, 'prebuilds', `linux-${process.arch}`);
mkdirSync(target, { recursive: true });
// --strip-unneeded keeps the dynamic symbols that Node.js looks up.
execFileSync('strip', [
  '--strip-unneeded',
  '-o',
  join(target, 'node_compute.node'),
  join(root, 'build/Release/node_compute.node'),
]);
console.log(`prebuilt addon: prebuilds/linux-${process.arch}/node_compute.node`);
