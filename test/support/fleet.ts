// Many domains on a libvirt of a test; see scripts/fleet.mjs.
import { mkdirSync } from 'node:fs';
import { startFleet } from '../../scripts/fleet.mjs';
import { DOMAIN_NAMESPACE } from '../../src/libvirt/xml/domain.js';
import { callNative, type NativeConnection, type NativeDomain } from '../../src/native.js';

const CONNECT = { reapOrphans: true, logFile: '' };

export class Fleet implements AsyncDisposable {
  readonly domains: readonly NativeDomain[];
  readonly #connection: NativeConnection;

  /** On a libvirt that a driver of this process has open already. */
  static async start(uri: string, directory: string, count: number): Promise<Fleet> {
    mkdirSync(directory, { recursive: true, mode: 0o711 });
    const connection = await callNative((addon, id) => addon.openConnection(uri, CONNECT, id), {
      operation: 'fleet',
    });
    return new Fleet(connection, await startFleet(connection, directory, count, DOMAIN_NAMESPACE));
  }

  private constructor(connection: NativeConnection, domains: readonly NativeDomain[]) {
    this.#connection = connection;
    this.domains = domains;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      this.domains.map(async (domain) => {
        await domain.destroy(0, 0).catch(() => undefined);
        await domain.undefine(0, 0);
      }),
    );
    await this.#connection.close(0);
  }
}
