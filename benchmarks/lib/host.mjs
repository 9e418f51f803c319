// What the contenders of a run share: a directory, an image, a bridge, domain documents, and libvirtds of our own.
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DOMAIN_NAMESPACE } from '../../dist/libvirt/xml/domain.js';
import { PrivateGlance } from '../../scripts/private-glance.mjs';
import { PrivateLibvirtd } from '../../scripts/private-libvirtd.mjs';
import { TEST_DOMAIN, TEST_DOMAIN_UUID } from './client.mjs';
import { endFleet } from './fleet.mjs';
import { LOG_FILTERS } from './libvirt-log.mjs';
import { runPeer } from './peer.mjs';
import { TRACE_LIBVIRTD } from './programs.mjs';
import { ShapedNetwork } from './shaped-network.mjs';

const MIB = 1024 ** 2;
/** Data of the image, which is 64 MiB large: enough to be an image, little enough that a launch is not its copy. */
const DATA_BYTES = 8 * MIB;
/** Data of the large image, of 1 GiB: what launches of images that are not cached take their time for. */
const LARGE_DATA_BYTES = 256 * MIB;
/** Data of an image as clouds have them: some 335 MB when it is compressed. */
const CLOUD_DATA_BYTES = 880 * MIB;
/** What qemu-img makes of them; `chain` is an overlay on the plain one. */
const LARGE_IMAGES = {
  zlib: { words: ['-c'] },
  zstd: { words: ['-c', '-o', 'compression_type=zstd'] },
  plain: { words: [] },
  sparse: { words: [], size: '100G' },
  cloud: { words: ['-c'], dataBytes: CLOUD_DATA_BYTES, rawSize: '3G' },
};
/** Domains of the test driver: as many as no host has, so that the cost of each shows. */
const TEST_DOMAINS = 1000;
const VIR_DOMAIN_SHUTOFF = 5;

/** cli; hlt; and again, should anything wake it. */
function haltingBootSector() {
  const sector = Buffer.alloc(512);
  sector.set([0xfa, 0xf4, 0xeb, 0xfd]);
  sector.writeUInt16BE(0x55aa, 510);
  return sector;
}

/** What a system disk holds: this host's own programs and libraries, again from the start where they are too few. */
function writeProgramData(path, bytes) {
  const output = openSync(path, 'w');
  try {
    for (let written = 0; written < bytes; ) {
      for (const entry of readdirSync('/usr/lib', { recursive: true, withFileTypes: true })) {
        if (!entry.isFile() || written >= bytes) continue;
        const data = readFileSync(join(entry.parentPath ?? entry.path, entry.name));
        written += writeSync(output, data.subarray(0, bytes - written));
      }
    }
  } finally {
    closeSync(output);
  }
}

/** Made by scripts/setup.sh. */
const GUEST = fileURLToPath(new URL('../../build/guest/guest.qcow2', import.meta.url));

export class BenchmarkHost {
  #libvirtds = new Map();
  #glances = new Map();
  #fleets = new Map();
  #servers = [];
  #networks = [];

  constructor() {
    this.directory = mkdtempSync(join(process.env.NODE_COMPUTE_BENCH_DIR ?? tmpdir(), 'ncb-'));
    chmodSync(this.directory, 0o711);
    this.bridge = `brb${process.pid % 1e5}`;
    this.image = join(this.directory, 'image.qcow2');
    this.base = join(this.directory, 'base.raw');
    // No guest system on it, but a boot sector that halts the CPU: a guest that boots, or firmware that looks for a disk
    // to boot from for ever, takes the CPU from the next launch.
    writeFileSync(this.base, Buffer.concat([haltingBootSector(), randomBytes(DATA_BYTES)]), { mode: 0o644 });
    execFileSync('truncate', ['--size=64M', this.base]);
    execFileSync('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', '-c', this.base, this.image]);
  }

  /** A large image of a kind of LARGE_IMAGES. Made when it is first asked for. */
  largeImage(kind) {
    const path = join(this.directory, `${kind}.qcow2`);
    if (existsSync(path)) return path;
    if (kind === 'chain') {
      const base = this.largeImage('plain');
      execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path, '3G']);
      const writes = Array.from({ length: 64 }, (_, n) => ['-c', `write -q -P ${n + 1} ${n * 32}M 1M`]);
      execFileSync('qemu-io', ['-f', 'qcow2', ...writes.flat(), path]);
      return path;
    }
    const raw = join(this.directory, 'large.raw');
    const { words, size, dataBytes = LARGE_DATA_BYTES, rawSize = '1G' } = LARGE_IMAGES[kind];
    writeProgramData(raw, dataBytes);
    execFileSync('truncate', [`--size=${rawSize}`, raw]);
    execFileSync('qemu-img', ['convert', '-m', '8', '-f', 'raw', '-O', 'qcow2', ...words, raw, path]);
    if (size) execFileSync('qemu-img', ['resize', '-q', '-f', 'qcow2', path, size]);
    rmSync(raw);
    return path;
  }

  /** An image that boots, which says BOOTED on its console and lets go of devices; and the same as raw. */
  guest() {
    const base = join(this.directory, 'guest.raw');
    if (!existsSync(base)) execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', GUEST, base]);
    return { image: GUEST, base };
  }

  /** A Glance, and the large image of kind `cloud` in it; across a network of `rate` where that is given. */
  async glance(rate) {
    if (!this.#glances.has(rate)) this.#glances.set(rate, this.#startGlance(rate));
    return await this.#glances.get(rate);
  }

  async #startGlance(rate) {
    const directory = join(this.directory, `glance-${rate ?? 'local'}`);
    mkdirSync(directory);
    const network = rate && new ShapedNetwork(rate, this.#networks.length);
    if (network) this.#networks.push(network);
    const server = await PrivateGlance.start(directory, network);
    this.#servers.push(server);
    const id = await server.add({ disk_format: 'qcow2', container_format: 'bare' }, this.largeImage('cloud'));
    const answer = await fetch(`${server.url}/v2/images/${id}`);
    const { os_hash_value: sha512 } = await answer.json();
    return { endpoint: server.url, imageId: id, imageUrl: `${server.url}/v2/images/${id}/file`, sha512 };
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

  /** The test driver, which does nothing in no time, with its domains: in the process, or in a libvirtd. */
  async testDriver(kind) {
    const node = join(this.directory, 'test-node.xml');
    if (!existsSync(node)) writeFileSync(node, testNode(TEST_DOMAINS));
    return kind
      ? (await this.libvirtd(kind)).replace(/^qemu(.*)\/system/, `test$1${node}`)
      : `test://${node}`;
  }

  /** URI of a libvirtd of that kind, or of an embedded libvirt, that has so many domains; see scripts/fleet.mjs. */
  async fleet(kind, count) {
    const name = `${kind ?? 'embedded'}-fleet-${count}`;
    let fleet = this.#fleets.get(name);
    if (!fleet) {
      const directory = this.directoryOf(name);
      fleet = { directory, uri: kind ? await this.libvirtd(kind) : `qemu:///embed?root=${directory}/r` };
      this.#fleets.set(name, fleet);
      await runPeer('addon', { work: 'fleet', directory, uri: fleet.uri, count });
    }
    return fleet.uri;
  }

  /** Process of a libvirtd, which its clients don't know. */
  pidOf(kind) {
    return this.#libvirtds.get(kind)?.pid;
  }

  /** CPU seconds of a libvirtd, which its clients don't show. */
  cpuSecondsOf(kind) {
    const fields = readFileSync(`/proc/${this.pidOf(kind)}/stat`, 'utf8')
      .split(') ')[1]
      .split(' ');
    return [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0) / 100;
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
    for (const server of this.#servers) server.kill();
    // Called at the end, and at the exit of the process once more.
    for (const network of this.#networks.splice(0)) network.dispose();
    for (const { directory } of this.#fleets.values()) endFleet(directory);
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  }
}

/** The test driver's file of a host with so many domains, none of which runs; each is marked as node-compute's own are. */
function testNode(domains) {
  const domain = (name, uuid) => `<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0">
    <name>${name}</name><uuid>${uuid}</uuid><memory unit="MiB">128</memory><os><type>hvm</type></os>
    <metadata><node-compute:instance xmlns:node-compute="${DOMAIN_NAMESPACE}"/></metadata>
    <test:runstate>${VIR_DOMAIN_SHUTOFF}</test:runstate>
  </domain>`;
  const others = Array.from({ length: domains - 1 }, (_, at) => domain(`test-${at}`, randomUUID()));
  return `<node>${domain(TEST_DOMAIN, TEST_DOMAIN_UUID)}${others.join('')}</node>`;
}
