// Where a result was measured, and whether the machine was quiet enough for it to count.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';

function firstLine(command, ...args) {
  try {
    return execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).split(
      '\n',
    )[0];
  } catch {
    return 'not installed';
  }
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
    commit: firstLine('git', 'describe', '--always', '--dirty'),
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
