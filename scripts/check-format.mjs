// Checks the layout of the C++ sources, or with --write corrects it, where the clang-format that decides it is installed.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
// Each major release lays some code out differently: one of them has to decide.
const DECIDING_MAJOR = '14';

const git = spawnSync('git', ['ls-files', '-co', '--exclude-standard', 'native/**.cc', 'native/**.h'], {
  cwd: root,
  encoding: 'utf8',
});
const files = git.stdout.split('\n').filter((file) => file !== '' && existsSync(join(root, file)));

const command = [`clang-format-${DECIDING_MAJOR}`, 'clang-format'].find((candidate) => {
  const { stdout } = spawnSync(candidate, ['--version'], { encoding: 'utf8' });
  return new RegExp(`version ${DECIDING_MAJOR}\\.`).test(stdout ?? '');
});
if (!command) {
  console.log(`format: no check of C++, clang-format ${DECIDING_MAJOR} is not installed`);
} else if (files.length > 0) {
  const how = process.argv.includes('--write') ? ['-i'] : ['--dry-run', '-Werror'];
  const { status } = spawnSync(command, [...how, ...files], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(1);
  console.log(`format: ${files.length} C++ files`);
}
