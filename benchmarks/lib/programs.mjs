// Which programs an operation runs: execve(2) of a peer and of its libvirtd, as strace sees them.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { runPeer } from './peer.mjs';

const FLAGS = ['-f', '-z', '-qq', '-e', 'trace=execve', '-e', 'signal=none', '-o'];
const [FEW, MANY] = [1, 3];

/**
 * Number of runs by name of program, for one operation: what more operations run more, so that neither the peer's own
 * start nor its warm-up counts. Undefined where strace is missing.
 */
export async function programsOf(peer, options, libvirtdPid) {
  if (spawnSync('strace', ['-V']).status !== 0) return undefined;
  const few = await executed(peer, { ...options, count: FEW }, libvirtdPid);
  const many = await executed(peer, { ...options, count: MANY }, libvirtdPid);
  return Object.fromEntries(
    [...many]
      .map(([name, times]) => [name, (times - (few.get(name) ?? 0)) / (MANY - FEW)])
      .filter(([, times]) => times > 0),
  );
}

async function executed(peer, options, libvirtdPid) {
  const directory = mkdtempSync(join(tmpdir(), 'ncb-strace-'));
  const [own, daemons] = ['own', 'libvirtd'].map((name) => join(directory, name));
  const tracer = libvirtdPid && (await attach(libvirtdPid, daemons));
  try {
    await runPeer(peer, options, ['strace', ...FLAGS, own]);
  } finally {
    await tracer?.detach();
  }
  const counts = new Map();
  for (const file of tracer ? [own, daemons] : [own]) {
    for (const [, path] of readFileSync(file, 'utf8').matchAll(/execve\("([^"]+)"/g)) {
      counts.set(basename(path), (counts.get(basename(path)) ?? 0) + 1);
    }
  }
  rmSync(directory, { recursive: true });
  return counts;
}

/** Resolves once the process is traced, which its status tells. */
async function attach(pid, file) {
  const tracer = spawn('strace', [...FLAGS, file, '-p', String(pid)], { stdio: 'ignore' });
  const ended = new Promise((resolve) => tracer.on('close', resolve));
  while (
    tracer.exitCode === null &&
    !/^TracerPid:\t[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  ) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return {
    async detach() {
      tracer.kill('SIGINT');
      await ended;
    },
  };
}
