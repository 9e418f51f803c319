// A libvirt host of a test's own: root, instances path, bridge and instances that really boot; and a look at what is left.
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Instance, instanceName } from '../../src/driver/model.js';
import type { VolumeConnection } from '../../src/driver/volume.js';
import type { LibvirtDriverOptions } from '../../src/libvirt/options.js';
import { tapName } from '../../src/network/names.js';

const repository = fileURLToPath(new URL('../../', import.meta.url));

/** The guest that test/guest/build.sh builds; `make test` has built it before any test runs. */
export const GUEST_IMAGE: string = join(repository, 'build/guest/guest.qcow2');
/** libvirt asks a new root's QEMU for its capabilities for seconds; one answer serves all tests of this tree. */
const CAPABILITIES = join(repository, 'build/guest/qemu-capabilities');
const CACHE = 'cache/qemu/capabilities';

export class TestHost {
  readonly directory: string;
  readonly root: string;
  readonly instancesPath: string;
  readonly bridge: string = `brt${process.pid % 100_000}`;
  #lastId = 0;

  constructor() {
    this.directory = mkdtempSync(join(tmpdir(), 'nct-'));
    // QEMU's own user must get through.
    chmodSync(this.directory, 0o711);
    this.root = join(this.directory, 'root');
    this.instancesPath = join(this.directory, 'instances');
    if (existsSync(CAPABILITIES)) {
      mkdirSync(join(this.root, CACHE), { recursive: true, mode: 0o711 });
      cpSync(CAPABILITIES, join(this.root, CACHE), { recursive: true });
    }
  }

  options(more: Partial<LibvirtDriverOptions> = {}): LibvirtDriverOptions {
    return { instancesPath: this.instancesPath, root: this.root, ...more };
  }

  /** Boots in seconds, with one interface on a bridge of this test. */
  instance(more: Partial<Instance> = {}): Instance {
    this.#lastId += 1;
    const portId = randomUUID();
    return {
      uuid: randomUUID(),
      id: this.#lastId,
      name: instanceName(this.#lastId),
      displayName: 'guest',
      flavor: { name: 'tiny', vcpus: 1, memoryMb: 128, rootGb: 1, ephemeralGb: 0, swapMb: 0, extraSpecs: {} },
      image: {
        id: 'guest',
        diskFormat: 'qcow2',
        source: { type: 'file', path: GUEST_IMAGE },
        properties: {},
      },
      vifs: [
        {
          id: portId,
          mac: `fa:16:3e:00:${hex(this.#lastId >> 8)}:${hex(this.#lastId)}`,
          bridge: this.bridge,
          tap: tapName(portId),
        },
      ],
      createdAt: new Date().toISOString(),
      ...more,
    };
  }

  /** A new raw file of some MiB, where QEMU's own user gets through. */
  volume(name: string = randomUUID(), bytes = 4 * 2 ** 20): VolumeConnection {
    const directory = join(this.directory, 'volumes');
    mkdirSync(directory, { recursive: true, mode: 0o711 });
    const path = join(directory, name);
    writeFileSync(path, '', { flag: 'wx', mode: 0o600 });
    truncateSync(path, bytes);
    return { driverVolumeType: 'file', data: { path, format: 'raw' } };
  }

  /** A file that is not there yet. */
  snapshotTarget(): { readonly type: 'file'; readonly path: string } {
    const directory = join(this.directory, 'snapshots');
    mkdirSync(directory, { recursive: true });
    return { type: 'file', path: join(directory, randomUUID()) };
  }

  /** Files, taps and QEMU processes of an instance. */
  leftovers(instance: Instance): string[] {
    const files = existsSync(join(this.instancesPath, instance.uuid)) ? ['directory'] : [];
    const taps = instance.vifs.map(({ tap }) => tap).filter((tap) => existsSync(`/sys/class/net/${tap}`));
    const parts = join(this.directory, 'snapshots', `.${instance.uuid}.part`);
    if (existsSync(parts)) files.push(parts);
    return [...files, ...taps, ...qemuProcesses(instance.uuid).map((pid) => `process ${pid}`)];
  }

  /** What is left when every instance is gone: the bridge goes with its last port. */
  remains(): string[] {
    const directories = existsSync(this.instancesPath)
      ? readdirSync(this.instancesPath).filter((name) => /^[0-9a-f]{8}-/.test(name))
      : [];
    return [...directories, ...(existsSync(`/sys/class/net/${this.bridge}`) ? [this.bridge] : [])];
  }

  consoleText(uuid: string): string {
    try {
      return readFileSync(join(this.instancesPath, uuid, 'console.log'), 'utf8');
    } catch {
      return '';
    }
  }

  /** The guest's own words, as soon as it has said them. */
  async booted(uuid: string, timeoutMs = 90_000): Promise<GuestReport> {
    const line = await eventually(`the guest of ${uuid} to boot`, timeoutMs, () =>
      /NODE-COMPUTE-GUEST (\{"event":"BOOTED".*\})\r?\n/.exec(this.consoleText(uuid)),
    );
    return JSON.parse(line[1] ?? '') as GuestReport;
  }

  /** Resolves when the guest's latest word of its disks and interfaces is such. */
  async sees(
    uuid: string,
    what: string,
    matches: (devices: GuestDevices) => boolean,
    timeoutMs = 30_000,
  ): Promise<GuestDevices> {
    return await eventually(`the guest of ${uuid} to see ${what}`, timeoutMs, () => {
      const lines = this.consoleText(uuid).match(
        /NODE-COMPUTE-GUEST \{"event":"(BOOTED|DEVICES)".*\}(?=\r?\n)/g,
      );
      const last = lines?.at(-1)?.replace('NODE-COMPUTE-GUEST ', '');
      const devices = last === undefined ? undefined : (JSON.parse(last) as GuestDevices);
      return devices && matches(devices) ? devices : undefined;
    });
  }

  /** Ends what a failed test left running, keeps the capabilities, removes the rest. */
  dispose(): void {
    // By the directory: the questions that a killed libvirt was asking a QEMU of its own are among them.
    for (const pid of qemuProcesses(this.directory)) process.kill(pid, 'SIGKILL');
    if (existsSync(join(this.root, CACHE))) {
      cpSync(join(this.root, CACHE), CAPABILITIES, { recursive: true });
    }
    rmSync(this.directory, { recursive: true, force: true });
    if (existsSync(`/sys/class/net/${this.bridge}`)) execFileSync('ip', ['link', 'delete', this.bridge]);
  }
}

/** What the guest prints once it is up. */
export interface GuestReport {
  readonly event: 'BOOTED';
  readonly name: string;
  readonly uuid: string;
  readonly rootDiskBytes: number;
  readonly macs: readonly string[];
  readonly memoryMb: number;
  readonly vcpus: number;
  readonly disks: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly content?: { readonly type: string; readonly label: string; readonly usableBytes: number };
  }[];
  readonly configDrive?: { readonly uuid: string; readonly userDataSha256: string };
}

/** What the guest prints at each change. */
export interface GuestDevices {
  readonly disks: readonly {
    readonly name: string;
    readonly bytes: number;
    readonly serial: string;
    /** 1 or 0; not told at boot. */
    readonly readOnly?: number;
  }[];
  readonly macs: readonly string[];
}

/** Polls a condition that has no event of its own until it holds. */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  look: () => T | undefined | null | false | Promise<T | undefined | null | false>,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`waited ${timeoutMs} ms for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Living QEMU processes whose command line names that text. */
export function qemuProcesses(text: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return command.includes('qemu-system') && command.includes(text);
      } catch {
        return false;
      }
    });
}

function hex(byte: number): string {
  return (byte & 0xff).toString(16).padStart(2, '0');
}
