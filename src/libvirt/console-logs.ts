// Bounds what guests write to their consoles: QEMU appends without end, and virtlogd, which would bound it, is not there in
// an embedded libvirt. As virtlogd does, what is old of a log moves to `console.log.0`.
import { join } from 'node:path';
import { isInstanceUuid } from '../driver/identity.js';
import type { ImageLogger } from '../image/types.js';
import { callNative } from '../native.js';
import type { CallContext } from './hypervisor.js';

/** virtlogd's default (max_size): a log that it keeps never gets longer, and is left to it. */
export const CONSOLE_LOG_MAX_BYTES: number = 2 << 20;
/** virtlogd keeps three (max_backups); of ours there is one. */
const BACKUPS = 3;
/** A serial port under KVM takes less than a megabyte a second. */
const LOOK_MS = 2_000;

export class ConsoleLogs {
  readonly #instancesPath: string;
  readonly #maxBytes: number;
  readonly #logger: ImageLogger;
  readonly #failed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #pass: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(instancesPath: string, maxBytes: number, logger: ImageLogger) {
    this.#instancesPath = instancesPath;
    this.#maxBytes = maxBytes;
    this.#logger = logger;
  }

  /** Looks at all logs now and every two seconds, until {@link stop}. Does not keep the process alive. */
  start(): void {
    if (this.#stopped || this.#timer) return;
    this.#pass = this.#look();
    this.#timer = setTimeout(() => {
      this.#pass
        .then(() => {
          this.#timer = undefined;
          this.start();
        })
        .catch(() => undefined);
    }, LOOK_MS);
    this.#timer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#pass;
  }

  /** The last `maxBytes` of a log with what was moved away of it. */
  async read(path: string, maxBytes: number, context: CallContext): Promise<Uint8Array> {
    // Between the two steps of a pass the same bytes would be missing or twice.
    await this.#pass;
    const parts = [await this.#tail(path, maxBytes, context)];
    let left = maxBytes - (parts[0]?.length ?? 0);
    for (let backup = 0; backup < BACKUPS && left > 0; backup += 1) {
      const older = `${path}.${backup}`;
      if (!(await callNative((addon, id) => addon.statFile(older, id), context))) break;
      const part = await this.#tail(older, left, context);
      parts.unshift(part);
      left -= part.length;
    }
    return parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
  }

  async #tail(path: string, maxBytes: number, context: CallContext): Promise<Buffer> {
    return await callNative((addon, id) => addon.readFile(path, maxBytes, id), context);
  }

  async #look(): Promise<void> {
    const context = { operation: 'rotate console logs' };
    let names: readonly string[] = [];
    try {
      names = await callNative((addon, id) => addon.listDirectory(this.#instancesPath, id), context);
    } catch {
      return; // no instance yet
    }
    for (const name of names.filter(isInstanceUuid)) {
      if (this.#stopped) return;
      await this.#rotate(join(this.#instancesPath, name, 'console.log'), context);
    }
  }

  async #rotate(path: string, context: CallContext): Promise<void> {
    try {
      await callNative((addon, id) => addon.rotateLog(path, this.#maxBytes, id), context);
      this.#failed.delete(path);
    } catch (error) {
      // Once, not every two seconds: a full disk is told by more than this.
      if (this.#failed.has(path)) return;
      this.#failed.add(path);
      this.#logger.warn('a console log could not be bounded', { path, error: String(error) });
    }
  }
}
