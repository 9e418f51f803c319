// Many domains that cost next to nothing: paused before their firmware ran, with a disk, an interface and a balloon each.
import { randomUUID } from 'node:crypto';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DOMAIN_NAMESPACE } from '../../src/libvirt/xml/domain.js';
import { callNative, type NativeConnection, type NativeDomain } from '../../src/native.js';

const CONNECT = { keepAliveInterval: 0, keepAliveCount: 0, reapOrphans: true, logFile: '' };
const START_PAUSED = 1;

export class Fleet implements AsyncDisposable {
  readonly connection: NativeConnection;
  readonly domains: readonly NativeDomain[];

  /** On a libvirt that a driver of this process has open already. */
  static async start(uri: string, directory: string, count: number): Promise<Fleet> {
    mkdirSync(directory, { recursive: true, mode: 0o711 });
    const connection = await callNative((addon, id) => addon.openConnection(uri, CONNECT, id), {
      operation: 'fleet',
    });
    const one = async (index: number): Promise<NativeDomain> => {
      const disk = join(directory, `${index}.raw`);
      writeFileSync(disk, '');
      truncateSync(disk, 1 << 20);
      const domain = await connection.define(domainXml(index, disk), 0, 0);
      await domain.start(START_PAUSED, 0);
      return domain;
    };
    const domains = await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
    return new Fleet(connection, domains);
  }

  private constructor(connection: NativeConnection, domains: readonly NativeDomain[]) {
    this.connection = connection;
    this.domains = domains;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.domains.map(async (domain) => {
        await domain.destroy(0, 0).catch(() => undefined);
        await domain.undefine(0, 0);
      }),
    );
    await this.connection.close(0);
  }
}

function domainXml(index: number, disk: string): string {
  return `<domain type='qemu'><name>fleet-${index}</name><uuid>${randomUUID()}</uuid>
  <metadata><node-compute:instance xmlns:node-compute="${DOMAIN_NAMESPACE}"/></metadata>
  <memory unit='MiB'>${16 + (index % 4) * 16}</memory><vcpu>${1 + (index % 2)}</vcpu><os><type>hvm</type></os>
  <devices>
    <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='${disk}'/><target dev='vda' bus='virtio'/></disk>
    <interface type='ethernet'><target dev='flt${process.pid % 100_000}-${index}'/><model type='virtio'/></interface>
    <memballoon model='virtio'/>
  </devices></domain>`;
}
