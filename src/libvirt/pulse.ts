// Whether the libvirtd behind a connection still answers; its own keepalive cannot be used for that.
import { ComputeError } from '../driver/errors.js';
import { callNative, type NativeConnection } from '../native.js';

/** Silent for so many intervals: it hangs. */
const PATIENCE = 3;

/*
 * virConnectSetKeepAlive does notice a libvirtd that hangs, but (libvirt 9.0.0) no call in flight ends by it, no close
 * callback comes, and the thread that waits at the socket crashes when libvirtd goes on. So it is asked for its version.
 */
export class Pulse {
  readonly #connection: NativeConnection;
  readonly #intervalMs: number;
  readonly #onSilence: () => void;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  /** Does not keep the process alive. `onSilence` is called once at most. */
  constructor(connection: NativeConnection, intervalMs: number, onSilence: () => void) {
    this.#connection = connection;
    this.#intervalMs = intervalMs;
    this.#onSilence = onSilence;
    this.#schedule();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#ask(), this.#intervalMs);
    this.#timer.unref();
  }

  async #ask(): Promise<void> {
    const limit = { operation: 'keepalive', timeoutMs: PATIENCE * this.#intervalMs };
    try {
      await callNative((_addon, id) => this.#connection.isAlive(id), limit);
    } catch (error) {
      // Of any other failure the connection's own end tells.
      if (ComputeError.is(error) && error.code === 'TIMEOUT' && !this.#stopped) {
        this.stop();
        this.#onSilence();
        return;
      }
    }
    this.#schedule();
  }
}
