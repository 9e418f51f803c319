// Where a result was measured, and whether the machine was quiet enough for it to count.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

function firstLine(command, ...args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split(
      '\n',
    )[0];
  } catch {
    return 'not installed';
  }
}

const repository = fileURLToPath(new URL('../../', import.meta.url));

/** Of a clone its commit; of an installed package, which may lie in a repository of someone else's, its version. */
function commit() {
  if (existsSync(join(repository, '.git'))) {
    return firstLine('git', '-C', repository, 'describe', '--always', '--dirty');
  }
  return `version ${JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')).version}`;
}

export function describeMachine() {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGib: Math.round(totalmem() / 1024 ** 3),
    kernel: release(),
    distribution: /^PRETTY_NAME="(.*)"$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? 'unknown',
    node: process.version,
    qemu: firstLine('qemu-system-x86_64', '--version'),
    libvirt: firstLine('virsh', '--version'),
    commit: commit(),
    date: new Date().toISOString(),
  };
}

/** Share of the CPUs that is busy now, 0 to 1, looked at for two seconds: the work of others, as long as none of ours runs. */
export async function busyShare() {
  const before = ticks();
  await new Promise((resolve) => setTimeout(resolve, 2000));
  const after = ticks();
  return 1 - (after.idle - before.idle) / (after.all - before.all);
}

function ticks() {
  const fields = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]
    .trim()
    .split(/\s+/)
    .slice(1, 9)
    .map(Number);
  return { idle: fields[3] + fields[4], all: fields.reduce((sum, value) => sum + value) };
}
