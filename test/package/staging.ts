// The package as a release packs it, made from a copy of this tree, and an empty project to install it into.
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const repository: string = fileURLToPath(new URL('../../', import.meta.url));

export const addon: string = join(repository, 'build/Release/node_compute.node');

/** Where an installed package looks for its prebuilt addon. */
export const prebuilt: string = `prebuilds/linux-${process.arch}/node_compute.node`;

export interface Outcome {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function run(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): Outcome {
  const inherited = { ...process.env };
  // The package must stand on its own: no addon and no options of the run that tests it.
  for (const name of ['NODE_COMPUTE_ADDON', 'NODE_OPTIONS', 'VITEST', 'NODE_ENV']) delete inherited[name];
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd,
    encoding: 'utf8',
    env: { ...inherited, ...env },
    timeout: 150_000,
  });
  if (error) throw error;
  return { status, stdout, stderr };
}

export function succeed(
  command: string,
  args: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
): string {
  const { status, stdout, stderr } = run(command, args, cwd, env);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

export function temporaryDirectory(name: string): string {
  return mkdtempSync(join(tmpdir(), `${name}-`));
}

/** Copies what git knows, dist/ and, unless told not to, the prebuilt addon; nothing is written to the tree itself. */
export function stage({ withAddon }: { readonly withAddon: boolean }): string {
  const directory = temporaryDirectory('stage');
  const files = succeed('git', ['ls-files', '-co', '--exclude-standard', '-z'], repository).split('\0');
  for (const file of files.filter((name) => name !== '' && existsSync(join(repository, name)))) {
    mkdirSync(dirname(join(directory, file)), { recursive: true });
    cpSync(join(repository, file), join(directory, file));
  }
  cpSync(join(repository, 'dist'), join(directory, 'dist'), { recursive: true });
  withoutPackScripts(join(directory, 'package.json'));
  symlinkSync(join(repository, 'node_modules'), join(directory, 'node_modules'));
  if (withAddon) {
    mkdirSync(join(directory, 'build/Release'), { recursive: true });
    cpSync(addon, join(directory, 'build/Release/node_compute.node'));
    succeed(process.execPath, ['scripts/prebuild.mjs'], directory);
  }
  return directory;
}

/** `npm pack` of npm 9 runs `prepare` even under --ignore-scripts, and that compiles the addon for minutes. */
function withoutPackScripts(path: string): void {
  const manifest = JSON.parse(readFileSync(path, 'utf8')) as { scripts: Record<string, string> };
  const { prepare: _prepare, prepack: _prepack, ...scripts } = manifest.scripts;
  writeFileSync(path, JSON.stringify({ ...manifest, scripts }, null, 2));
}

export interface Packed {
  readonly tarball: string;
  readonly files: readonly string[];
  readonly bytes: number;
}

export function pack(staging: string): Packed {
  const output = succeed('npm', ['pack', '--ignore-scripts', '--json', '--loglevel=error'], staging);
  const answer: unknown = JSON.parse(output);
  // npm 11 gives an array, later ones an object by package name.
  const [entry] = (Array.isArray(answer) ? answer : Object.values(answer as object)) as {
    filename: string;
    size: number;
    files: { path: string }[];
  }[];
  if (!entry) throw new Error(`npm pack gave nothing: ${output}`);
  return {
    tarball: join(staging, entry.filename),
    files: entry.files.map(({ path }) => path),
    bytes: entry.size,
  };
}

/** An empty project with the tarball installed the way that runs no script. */
export function install(tarball: string): string {
  const project = temporaryDirectory('project');
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'project', private: true, type: 'module' }),
  );
  succeed(
    'npm',
    [
      'install',
      '--ignore-scripts',
      '--prefer-offline',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      tarball,
    ],
    project,
  );
  return project;
}
