// Compiles src/ to dist/, makes the command line a program, and removes from dist/ what no longer has a source.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const compiler = createRequire(import.meta.url).resolve('typescript/package.json');
const { status } = spawnSync(
  process.execPath,
  [join(dirname(compiler), 'bin/tsc'), '-p', join(root, 'tsconfig.json')],
  { cwd: root, stdio: 'inherit' },
);
if (status !== 0) process.exit(status ?? 1);

const dist = join(root, 'dist');
chmodSync(join(dist, 'cli/main.js'), 0o755);
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const output = join(entry.parentPath, entry.name);
  const source = join(root, 'src', relative(dist, output).replace(/(?:\.d\.ts|\.js)(?:\.map)?$/, '.ts'));
  if (!existsSync(source)) rmSync(output);
}
