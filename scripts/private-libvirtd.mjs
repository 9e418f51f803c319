// A libvirtd of one's own: own sockets, own directories, own process namespace; nothing of the host's libvirt is touched.
import { execFileSync, spawn } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { claimPorts } from '../dist/libvirt/vnc-ports.js';

/** What libvirtd takes for granted; each stands for a directory of ours in the daemon's mount namespace. */
const DIRECTORIES = [
  '/etc/libvirt',
  '/var/lib/libvirt',
  '/run/libvirt',
  '/var/log/libvirt',
  '/var/cache/libvirt',
];

const QEMU_CONF = `
cgroup_controllers = []
stdio_handler = "file"
remember_owner = 0
`;

/** Without it libvirt asks QEMU some 400 questions per start; see docs/performance.md. */
const CAPABILITY_FILTER = 'capability_filters = [ "cpu-unavailable-features" ]\n';

// bash is process 1 of the namespace: it collects orphaned QEMUs at once, which libvirt waits for, and when it is
// killed the kernel ends every process of the namespace with it. libvirtd is started again whenever it ends, while its
// directory is there: also a run that was killed leaves nothing that goes on.
const SUPERVISOR = `
mount --make-rprivate /
while read -r target source; do mount --bind "$source" "$target"; done < "$1/mounts"
directory=$1; shift
while [ -e "$directory/libvirtd.conf" ]; do
  while [ -e "$directory/away" ]; do sleep 0.05; done
  "$@" libvirtd -f "$directory/libvirtd.conf" -p "$directory/libvirtd.pid" & wait $!
done
`;

/** A hundred of its own for each; none of an embedded root. */
function vncPorts(directory) {
  const first = claimPorts(directory, { first: 56_900, size: 100, blocks: 80 });
  return `remote_display_port_min = ${first}\nremote_display_port_max = ${first + 99}\n`;
}

export class PrivateLibvirtd {
  /**
   * Starts it below `directory` (short: sockets lie below it) and waits until it answers.
   * Needs root, and the packages libvirt-daemon and util-linux. `tuned: false` leaves libvirt's starts as slow as a
   * distribution ships them. `logFilters` sends what they let through to `debug.log` in the directory;
   * `under` are the words of a program that runs it.
   */
  static async start(directory, { tuned = true, logFilters, under = [] } = {}) {
    const daemon = new PrivateLibvirtd(directory);
    await daemon.#start({ tuned, logFilters, under });
    return daemon;
  }

  #process;

  constructor(directory) {
    this.directory = directory;
    this.socket = join(directory, 's/libvirt-sock');
    this.uri = `qemu+unix:///system?socket=${this.socket}`;
    this.log = join(directory, 'daemon.log');
    this.debugLog = join(directory, 'debug.log');
  }

  async #start({ tuned, logFilters, under }) {
    mkdirSync(join(this.directory, 's'), { recursive: true, mode: 0o711 });
    chmodSync(this.directory, 0o711);
    const mounts = DIRECTORIES.map((target) => {
      const source = join(this.directory, 'd', target);
      mkdirSync(source, { recursive: true, mode: 0o711 });
      mkdirSync(target, { recursive: true, mode: 0o711 });
      return `${target} ${source}`;
    });
    writeFileSync(join(this.directory, 'mounts'), `${mounts.join('\n')}\n`);
    writeFileSync(
      join(this.directory, 'd/etc/libvirt/qemu.conf'),
      QEMU_CONF + vncPorts(this.directory) + (tuned ? CAPABILITY_FILTER : ''),
    );
    writeFileSync(
      join(this.directory, 'libvirtd.conf'),
      `unix_sock_dir = "${this.directory}/s"\nauth_unix_rw = "none"\nauth_unix_ro = "none"\nunix_sock_rw_perms = "0700"\n${
        logFilters ? `log_filters = "${logFilters}"\nlog_outputs = "1:file:${this.debugLog}"\n` : ''
      }`,
    );
    const log = openSync(this.log, 'a');
    const flags = ['--mount', '--pid', '--fork', '--mount-proc', '--kill-child'];
    this.#process = spawn('unshare', [...flags, 'bash', '-c', SUPERVISOR, 'bash', this.directory, ...under], {
      detached: true,
      stdio: ['ignore', log, log],
    });
    closeSync(log);
    await this.#answers();
  }

  async #answers() {
    const end = Date.now() + 90_000;
    for (;;) {
      if (existsSync(this.socket)) {
        try {
          this.virsh('version');
          return;
        } catch {
          // not yet
        }
      }
      if (Date.now() > end || this.#process.exitCode !== null) {
        this.stop();
        throw new Error(`libvirtd did not come up:\n${readFileSync(this.log, 'utf8').slice(-2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** What virsh prints. */
  virsh(...args) {
    return execFileSync('virsh', ['-c', this.uri, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** The daemon's process as this host numbers it; undefined while there is none. */
  get pid() {
    const children = (pid) =>
      readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number);
    try {
      const [supervisor] = children(this.#process.pid);
      return children(supervisor).find((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8') === 'libvirtd\n');
    } catch {
      return undefined;
    }
  }

  /** kill -9; it comes back by itself, its guests run on. */
  kill() {
    const { pid } = this;
    if (pid !== undefined) process.kill(pid, 'SIGKILL');
  }

  /** Ends it; it stays away until {@link comeBack}, its guests run on. Resolves once it has ended. */
  async goAway(signal) {
    const { pid } = this;
    writeFileSync(join(this.directory, 'away'), '');
    if (pid !== undefined) process.kill(pid, signal);
    while (this.pid !== undefined) await new Promise((resolve) => setTimeout(resolve, 20));
  }

  comeBack() {
    rmSync(join(this.directory, 'away'));
  }

  /** Ends the daemon and every guest of it. Idempotent. */
  stop() {
    const child = this.#process;
    if (child?.exitCode === null && child.signalCode === null) {
      // --kill-child passes it on to process 1 of the namespace.
      process.kill(-child.pid, 'SIGKILL');
    }
  }
}
