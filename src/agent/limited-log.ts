// A log in which one kind of line cannot drown the others: a flood of it is a few lines and a sum.
import type { Logger } from '../node/types.js';

export interface LimitedLogOptions {
  /** Lines of one kind in a period; the others are a sum at its end. Default 10. */
  readonly mostLines?: number;
  /** Milliseconds. Default 60000. */
  readonly periodMs?: number;
}

type Level = keyof Logger;
type Fields = Readonly<Record<string, unknown>>;

interface Kind {
  readonly level: Level;
  count: number;
}

/** Lines are of a kind by their field `kind`; those without are written, all of them. */
export class LimitedLog implements Logger {
  readonly #log: Logger;
  readonly #mostLines: number;
  readonly #periodMs: number;
  /** Of the present period. */
  readonly #kinds = new Map<string, Kind>();
  #timer: NodeJS.Timeout | undefined;

  constructor(log: Logger, { mostLines = 10, periodMs = 60_000 }: LimitedLogOptions = {}) {
    this.#log = log;
    this.#mostLines = mostLines;
    this.#periodMs = periodMs;
  }

  debug(message: string, fields?: Fields): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: Fields): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: Fields): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: Fields): void {
    this.#write('error', message, fields);
  }

  /** Ends the period: at its time, and when nothing more will be written. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const [kind, { level, count }] of this.#kinds) {
      const more = count - this.#mostLines;
      if (more > 0) this.#log[level](`${more} more of the kind ${kind}`, { kind, count: more });
    }
    this.#kinds.clear();
  }

  #write(level: Level, message: string, fields?: Fields): void {
    if (typeof fields?.['kind'] !== 'string' || this.#hasRoom(fields['kind'], level))
      this.#log[level](message, fields);
  }

  #hasRoom(name: string, level: Level): boolean {
    this.#timer ??= setTimeout(() => this.flush(), this.#periodMs).unref();
    const kind = this.#kinds.get(name) ?? { level, count: 0 };
    this.#kinds.set(name, kind);
    kind.count += 1;
    return kind.count <= this.#mostLines;
  }
}
