// How long does a launch of a cached image take, from the claim to the running event, against bare QEMU with the same
// devices? And what does each defence cost?
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTrial } from '../lib/trial.mjs';

export const name = 'warm-launch';
export const question =
  'Launch of a cached image, from claim to running event, against bare QEMU with the same devices from exec to QMP ready';
export const base = 'bare-qemu';
export const unit = 'ms';

const image = fileURLToPath(new URL('../../build/guest/guest.qcow2', import.meta.url));

const VARIANTS = {
  'node-compute': {},
  'node-compute, no seccomp': { seccomp: false },
  'node-compute, no mount namespace': { mountNamespace: false },
  'node-compute, all off, QEMU as root': { user: 'root', mountNamespace: false, seccomp: false },
};

/** Gives the contenders: name -> run one round. */
export async function prepare({ launches, warmup }) {
  const top = mkdtempSync(join(process.env.NODE_COMPUTE_BENCH_DIR ?? tmpdir(), 'ncb-'));
  chmodSync(top, 0o711);
  const options = (variant) => ({
    directory: join(top, variant),
    image,
    launches,
    warmup,
    bridge: `brb${process.pid % 1e5}`,
  });
  const names = Object.keys(VARIANTS);
  // One launch each: libvirt learns what QEMU can, the image is fetched, and the command line is known.
  let command;
  for (const [index, variant] of names.entries()) {
    const first = await runTrial('node-compute', {
      ...options(`v${index}`),
      launches: 1,
      warmup: 0,
      security: VARIANTS[variant],
      keepCommand: true,
    });
    command ??= first.command;
  }
  const bases = join(top, 'v0/i/_base', createHash('sha1').update('bench').digest('hex'));
  const contenders = {
    'bare-qemu': () => runTrial('bare-qemu', { directory: top, command, launches, warmup, base: bases }),
  };
  for (const [index, variant] of names.entries()) {
    contenders[variant] = () =>
      runTrial('node-compute', { ...options(`v${index}`), security: VARIANTS[variant] });
  }
  return { contenders, dispose: () => rmSync(top, { recursive: true, force: true }) };
}

/** Why it can't run here; undefined where it can. */
export function obstacle() {
  if (process.getuid() !== 0) return 'needs root';
  if (!existsSync(image)) return `needs the guest image ${image}`;
  try {
    execFileSync('qemu-system-x86_64', ['--version'], { stdio: 'ignore' });
  } catch {
    return 'needs qemu-system-x86_64';
  }
  return undefined;
}
