// One trial: a peer's program in a process of its own, which prints one JSON line; ../README.md has the contract.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const TIMEOUT_MS = 600_000;
/** What this tree was built to; a comparison of builds gives another as `library`. */
export const OWN_LIBRARY = fileURLToPath(new URL('../../dist', import.meta.url));
const peers = fileURLToPath(new URL('../peers/', import.meta.url));
const built = fileURLToPath(new URL('../../build/peers/', import.meta.url));

const python = '/usr/bin/python3';

/**
 * How each peer is run: by an interpreter, or compiled with libraries that pkg-config knows; and what must be there for
 * it: a command that succeeds, and the words for where it does not.
 */
const PEERS = {
  'node-compute': { file: 'node-compute.mjs', interpreter: process.execPath },
  addon: { file: 'addon.mjs', interpreter: process.execPath },
  resources: { file: 'resources.mjs', interpreter: process.execPath },
  'bare-qemu': { file: 'bare-qemu.mjs', interpreter: process.execPath },
  'qemu-img': { file: 'qemu-img.mjs', interpreter: process.execPath },
  ip: {
    file: 'ip.mjs',
    interpreter: process.execPath,
    probe: ['sh', '-c', 'command -v ip && command -v brctl'],
    needs: 'iproute2 and bridge-utils',
  },
  curl: {
    file: 'curl.mjs',
    interpreter: process.execPath,
    probe: ['sh', '-c', 'command -v curl && command -v qemu-img'],
    needs: 'curl and qemu-utils',
  },
  'libvirt-c': {
    file: 'libvirt.c',
    libraries: ['libvirt', 'json-c'],
    probe: ['sh', '-c', 'command -v cc && pkg-config --exists libvirt json-c'],
    needs: 'a C compiler, libvirt-dev and libjson-c-dev',
  },
  decompress: {
    file: 'decompress.c',
    libraries: ['json-c', 'libdeflate', 'libzstd'],
    probe: ['sh', '-c', 'command -v cc && pkg-config --exists json-c libdeflate libzstd'],
    needs: 'a C compiler, libjson-c-dev, libdeflate-dev and libzstd-dev',
  },
  'libvirt-python': {
    file: 'libvirt-python.py',
    interpreter: python,
    probe: [python, '-c', 'import libvirt'],
    needs: 'python3-libvirt',
  },
  nova: {
    file: 'libvirt-nova.py',
    interpreter: python,
    probe: [python, '-c', 'import nova.virt.libvirt.driver'],
    needs: 'python3-nova',
  },
  unraid: {
    file: 'unraid-libvirt.mjs',
    interpreter: process.execPath,
    probe: [process.execPath, '--input-type=module', '-e', "await import('@unraid/libvirt')"],
    needs: '@unraid/libvirt: npm install in benchmarks/',
  },
  virsh: {
    file: 'virsh.mjs',
    interpreter: process.execPath,
    probe: ['virsh', '--version'],
    needs: 'libvirt-clients',
  },
};

/** Why a peer can't run here; undefined where it can. */
export function peerObstacle(peer) {
  const { probe, needs } = PEERS[peer];
  if (probe && spawnSync(probe[0], probe.slice(1), { cwd: peers, stdio: 'ignore' }).status !== 0) {
    return `needs ${needs}`;
  }
  return undefined;
}

/**
 * Runs a peer with its options, under the words of `under` where they are given, and gives its answer. The process group
 * is killed at the deadline.
 */
export async function runPeer(peer, options, under = []) {
  // Its links end with it.
  const apart = options.work === 'plug' ? ['unshare', '--net', '--'] : [];
  const [program, ...words] = [...under, ...apart, ...commandOf(PEERS[peer])];
  const child = spawn(program, [...words, JSON.stringify(options)], {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (data) => (stdout += data));
  child.stderr.on('data', (data) => (stderr += data));
  const timer = setTimeout(() => process.kill(-child.pid, 'SIGKILL'), TIMEOUT_MS);
  const code = await new Promise((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  if (code !== 0) throw new Error(`${peer} ended with status ${code}: ${stderr.slice(-2000)}`);
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

function commandOf({ file, interpreter, libraries }) {
  const source = join(peers, file);
  if (interpreter) return [interpreter, source];
  const program = join(built, file.replace(/\.c$/, ''));
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    mkdirSync(built, { recursive: true });
    const flags = execFileSync('pkg-config', ['--cflags', '--libs', ...libraries], { encoding: 'utf8' });
    execFileSync('cc', [
      '-O2',
      '-Wall',
      '-Wextra',
      '-o',
      program,
      source,
      ...flags.trim().split(/\s+/),
      '-pthread',
    ]);
  }
  return [program];
}

/** Starts to count; the function it gives tells what this process, and the children it waited for, used since. */
export function meter() {
  const began = process.resourceUsage();
  const children = childSeconds();
  const begin = performance.now();
  return () => {
    const { userCPUTime, systemCPUTime } = process.resourceUsage();
    const status = readFileSync('/proc/self/status', 'utf8');
    return {
      seconds: (performance.now() - begin) / 1000,
      cpuSeconds:
        (userCPUTime + systemCPUTime - began.userCPUTime - began.systemCPUTime) / 1e6 +
        childSeconds() -
        children,
      peakRssMib: Number(/^VmHWM:\s+(\d+)/m.exec(status)[1]) / 1024,
      threads: Number(/^Threads:\s+(\d+)/m.exec(status)[1]),
    };
  };
}

/** cutime and cstime of proc(5), in clock ticks of 10 ms on every Linux that Node.js runs on. */
function childSeconds() {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1].split(' ');
  return (Number(fields[13]) + Number(fields[14])) / 100;
}
