// The live console of a domain as a Duplex.
import { Duplex } from 'node:stream';
import type { OpenConsoleOptions } from '../driver/compute-driver.js';
import { ComputeError, LibvirtError } from '../driver/errors.js';
import { callNative, type NativeConsole } from '../native.js';
import type { CallContext, Hypervisor } from './hypervisor.js';

/** VIR_DOMAIN_CONSOLE_FORCE. */
const FORCE = 1;
/** VIR_ERR_OPERATION_FAILED: somebody has it open. */
const OPERATION_FAILED = 9;
const HIGH_WATER_BYTES = 64 * 1024;

/** virDomainOpenConsole of the first port. Rejects with `INSTANCE_BUSY`, `INVALID_STATE`. */
export async function openConsole(
  hypervisor: Hypervisor,
  uuid: string,
  options: OpenConsoleOptions,
  context: CallContext,
): Promise<Duplex> {
  const domain = await hypervisor.domain(uuid, context);
  const flags = options.force ? FORCE : 0;
  try {
    // Waited for: a console that nobody has would stay open.
    const settled = { ...context, waitOnAbort: true };
    const opening = hypervisor.onDomain(domain, settled, async (d, id) => {
      const console = await d.openConsole('', flags, id);
      if (context.signal?.aborted) await console.close(0);
      return console;
    });
    return new ConsoleStream(await opening, context);
  } catch (error) {
    if (!(error instanceof LibvirtError) || error.libvirt.libvirtCode !== OPERATION_FAILED) throw error;
    const { operation, instanceUuid } = context;
    throw new ComputeError(
      'INSTANCE_BUSY',
      `${operation}: the console of instance ${uuid} is open already; close it there, or take it with force`,
      { operation, instanceUuid, retryable: true, cause: error },
    );
  }
}

/** Reads only while its reader wants more: a slow one holds the guest's port up, not this process's memory. */
class ConsoleStream extends Duplex {
  readonly #console: NativeConsole;
  readonly #context: { readonly operation: string; readonly instanceUuid: string | undefined };

  constructor(console: NativeConsole, { operation, instanceUuid }: CallContext) {
    super({
      readableHighWaterMark: HIGH_WATER_BYTES,
      writableHighWaterMark: HIGH_WATER_BYTES,
      allowHalfOpen: false,
    });
    this.#console = console;
    this.#context = { operation, instanceUuid };
  }

  override _read(): void {
    callNative((_addon, id) => this.#console.read(id), this.#context).then(
      (bytes) => {
        if (!this.destroyed) this.push(bytes.length > 0 ? bytes : null);
      },
      (error: unknown) => this.destroy(error as Error),
    );
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    callNative((_addon, id) => this.#console.write(chunk, id), this.#context).then(
      () => done(),
      (error: unknown) => done(error as Error),
    );
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    callNative((_addon, id) => this.#console.close(id), this.#context).then(
      () => done(error),
      (failure: unknown) => done(error ?? (failure as Error)),
    );
  }
}
