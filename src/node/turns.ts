// Who may go now: a counted gate in order of arrival, and one such gate for each instance.
import type { Deadline } from '../driver/deadline.js';

/** Gives the turn to the next in line; idempotent. */
export type Release = () => void;

interface Waiting {
  readonly enter: () => void;
}

/** At most `width` at a time, first come first served. A caller whose deadline ends leaves the line. */
export class Turnstile {
  readonly #width: number;
  readonly #line: Waiting[] = [];
  #inside = 0;

  constructor(width: number) {
    this.#width = width;
  }

  /** Inside or in line. */
  get size(): number {
    return this.#inside + this.#line.length;
  }

  /** Rejects with the deadline's reason. Call what it resolves with when done. */
  async enter(deadline: Deadline): Promise<Release> {
    deadline.check();
    if (this.#inside < this.#width) this.#inside += 1;
    else await this.#wait(deadline);
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#next();
    };
  }

  #wait(deadline: Deadline): Promise<void> {
    return new Promise((resolve, reject) => {
      const { signal } = deadline;
      const waiting: Waiting = {
        enter: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      const leave = (): void => {
        this.#line.splice(this.#line.indexOf(waiting), 1);
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#line.push(waiting);
    });
  }

  /** The one who leaves hands its place over, so that nobody can slip in between. */
  #next(): void {
    const next = this.#line.shift();
    if (next) next.enter();
    else this.#inside -= 1;
  }
}
