// What a peer does with a guest and its disks: waits for its word, has a volume for it, and data on its disk.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const BOOT_MS = 120_000;
const VOLUME_BYTES = 16 * 1024 ** 2;

/** Resolves when the guest has said on its console that it is up. */
export async function booted(consoleLog) {
  const until = performance.now() + BOOT_MS;
  while (performance.now() < until) {
    if (existsSync(consoleLog) && readFileSync(consoleLog, 'latin1').includes('"BOOTED"')) return;
    await sleep(50);
  }
  throw new Error(`the guest of ${consoleLog} did not boot in ${BOOT_MS / 1000} s`);
}

/** Path of a raw file of 16 MiB, all holes. */
export function makeVolume(directory) {
  const path = join(directory, 'volume.raw');
  writeFileSync(path, '', { mode: 0o644 });
  truncateSync(path, VOLUME_BYTES);
  return path;
}

/** 256 MiB of data above the base of a disk that nobody uses. */
export function fillDisk(path) {
  execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -q -P 90 512M 256M', path]);
}
