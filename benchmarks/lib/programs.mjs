// Which programs an operation runs: execve(2) of a peer and of its libvirtd, as strace sees them.
import { spawnSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { runPeer } from './peer.mjs';

const EXECUTIONS = ['-qq', '-e', 'trace=execve', '-e', 'signal=none', '-o'];
/** A peer and all below it; stops at execve(2) alone. */
const TRACE_PEER = ['strace', '-f', '--seccomp-bpf', ...EXECUTIONS];
/** Lets go of what a libvirtd executes: libvirt asks QEMU hundreds of questions, which take minutes under strace. */
export const TRACE_LIBVIRTD = ['strace', '-f', '-b', 'execve', ...EXECUTIONS];
const [FEW, MANY] = [1, 3];

/** Whether strace is there. */
export const canTrace = () => spawnSync('strace', ['-V']).status === 0;

/**
 * Number of runs by name of program, for one operation: what more operations run more, so that neither the peer's own
 * start nor its warm-up counts. `libvirtdTrace` is what strace writes of the libvirtd that the options name.
 */
export async function programsOf(peer, options, libvirtdTrace) {
  const few = await executed(peer, { ...options, count: FEW }, libvirtdTrace);
  const many = await executed(peer, { ...options, count: MANY }, libvirtdTrace);
  return Object.fromEntries(
    [...many]
      .map(([name, times]) => [name, (times - (few.get(name) ?? 0)) / (MANY - FEW)])
      .filter(([, times]) => times > 0),
  );
}

async function executed(peer, options, libvirtdTrace) {
  const own = join(options.directory, 'strace');
  const before = libvirtdTrace ? readFileSync(libvirtdTrace).length : 0;
  await runPeer(peer, options, [...TRACE_PEER, own]);
  const traces = [
    readFileSync(own),
    ...(libvirtdTrace ? [readFileSync(libvirtdTrace).subarray(before)] : []),
  ];
  rmSync(own);
  const counts = new Map();
  for (const [, path] of traces.join('\n').matchAll(/execve\("([^"]+)".*(?: = 0|<detached \.\.\.>)$/gm)) {
    counts.set(basename(path), (counts.get(basename(path)) ?? 0) + 1);
  }
  return counts;
}
