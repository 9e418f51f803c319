// How many bytes of messages are held at once: whoever would exceed that waits, first come first served.
import type { Deadline } from '../driver/deadline.js';
import type { Release } from '../node/turns.js';

interface Waiting {
  readonly bytes: number;
  readonly enter: () => void;
}

export class ByteBudget {
  readonly #most: number;
  readonly #line: Waiting[] = [];
  #held = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** What is larger than the whole budget has its turn when nothing else is held. Rejects with the deadline's reason. */
  async enter(bytes: number, deadline: Deadline): Promise<Release> {
    deadline.check();
    if (this.#line.length === 0 && this.#fits(bytes)) return this.take(bytes);
    await this.#wait(bytes, deadline);
    return this.#release(bytes);
  }

  /** Without a wait, whatever is held: of what is in memory already. */
  take(bytes: number): Release {
    this.#held += bytes;
    return this.#release(bytes);
  }

  #release(bytes: number): Release {
    let isReleased = false;
    return () => {
      if (isReleased) return;
      isReleased = true;
      this.#held -= bytes;
      this.#next();
    };
  }

  #wait(bytes: number, { signal }: Deadline): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = {
        bytes,
        enter: () => {
          signal.removeEventListener('abort', leave);
          resolve();
        },
      };
      const leave = (): void => {
        this.#line.splice(this.#line.indexOf(waiting), 1);
        this.#next();
        reject(signal.reason);
      };
      signal.addEventListener('abort', leave, { once: true });
      this.#line.push(waiting);
    });
  }

  /** Bytes are handed over at once, so that nobody can slip in between. */
  #next(): void {
    for (let first = this.#line[0]; first && this.#fits(first.bytes); first = this.#line[0]) {
      this.#line.shift();
      this.#held += first.bytes;
      first.enter();
    }
  }

  #fits(bytes: number): boolean {
    return this.#held === 0 || this.#held + bytes <= this.#most;
  }
}
