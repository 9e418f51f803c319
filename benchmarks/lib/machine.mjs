// Where a result was measured, and whether the machine was quiet enough for it to count.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

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

/** Load of the last minute against the cores. */
export function load() {
  return loadavg()[0];
}
