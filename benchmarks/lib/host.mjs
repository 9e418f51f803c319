// What the contenders of a run share: a directory, an image, a bridge, domain documents, and libvirtds of our own.
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { LOG_FILTERS } from './libvirt-log.mjs';
import { runPeer } from './peer.mjs';
import { TRACE_LIBVIRTD } from './programs.mjs';

/** Data of the image, which is 64 MiB large: enough to be an image, little enough that a launch is not its copy. */
const DATA_BYTES = 8 * 1024 ** 2;

export class BenchmarkHost {
  #libvirtds = new Map();

  constructor() {
    this.directory = mkdtempSync(join(process.env.NODE_COMPUTE_BENCH_DIR ?? tmpdir(), 'ncb-'));
    chmodSync(this.directory, 0o711);
    this.bridge = `brb${process.pid % 1e5}`;
    this.image = join(this.directory, 'image.qcow2');
    this.base = join(this.directory, 'base.raw');
    // No guest system on it: what is measured ends before a guest does anything, and a guest that boots takes the CPU
    // from the next launch.
    writeFileSync(this.base, randomBytes(DATA_BYTES), { mode: 0o644 });
    execFileSync('truncate', ['--size=64M', this.base]);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', this.base, this.image]);
  }

  /** A directory of a contender, kept over the rounds. */
  directoryOf(contender) {
    const path = join(this.directory, contender.replaceAll(/\W+/g, '-'));
    mkdirSync(path, { recursive: true, mode: 0o711 });
    return path;
  }

  /**
   * URI of a libvirtd: `stock` as the distribution sets it, `tuned` with the capability filter, `logged` that with a log;
   * `traced` gives another of the kind, under strace.
   */
  async libvirtd(kind, { traced = false } = {}) {
    const name = traced ? `${kind}-traced` : kind;
    let daemon = this.#libvirtds.get(name);
    if (!daemon) {
      daemon = await PrivateLibvirtd.start(join(this.directory, name), {
        tuned: kind !== 'stock',
        ...(kind === 'logged' && { logFilters: LOG_FILTERS }),
        ...(traced && { under: [...TRACE_LIBVIRTD, this.traceOf(kind)] }),
      });
      this.#libvirtds.set(name, daemon);
    }
    return daemon.uri;
  }

  traceOf(kind) {
    return join(this.directory, `${kind}.strace`);
  }

  /** Where a libvirtd of kind `logged` writes its log. */
  debugLogOf(kind) {
    return this.#libvirtds.get(kind).debugLog;
  }

  /** The test driver, which does nothing in no time: in the process, or in a libvirtd. */
  async testDriver(kind) {
    return kind ? (await this.libvirtd(kind)).replace(/^qemu(.*)system/, 'test$1default') : 'test:///default';
  }

  /** CPU seconds and memory of a libvirtd, which its clients don't show. */
  usageOf(kind) {
    const pid = this.#libvirtds.get(kind)?.pid;
    if (pid === undefined) return undefined;
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
    const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0);
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return { cpuSeconds: ticks / 100, rssMib: Number(/^VmRSS:\s+(\d+)/m.exec(status)[1]) / 1024 };
  }

  /** Path of the domain document that node-compute writes, with blanks to fill in, and QEMU's command line for it. */
  async template() {
    const path = join(this.directory, 'domain.xml');
    const command = join(this.directory, 'command');
    if (!existsSync(path)) {
      const { document, commandLine } = await runPeer('node-compute', {
        work: 'document',
        directory: this.directoryOf('template'),
        image: this.image,
      });
      writeFileSync(path, document);
      writeFileSync(command, commandLine);
    }
    return { path, command: readFileSync(command, 'utf8') };
  }

  dispose() {
    for (const daemon of this.#libvirtds.values()) daemon.stop();
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}
