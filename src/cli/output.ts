// What the CLI prints: one JSON object with --json, text for people without.
import Table from 'cli-table3';
import { ComputeError } from '../driver/errors.js';

/** The exit statuses: failed, and called wrongly. */
export const FAILED = 1;
export const USAGE = 2;

export class Output {
  readonly json: boolean;
  readonly #debug: boolean;

  constructor(options: { readonly json: boolean; readonly debug: boolean }) {
    this.json = options.json;
    this.#debug = options.debug;
  }

  /** The result of a command: `fields` beside `"ok": true`, or `text` for people. */
  result(fields: Readonly<Record<string, unknown>>, text: string): void {
    if (this.json) writeJson({ ok: true, ...fields });
    else if (text !== '') process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
  }

  /** For people, while work goes on; on stderr, so that stdout stays the result. */
  note(text: string): void {
    if (!this.json) process.stderr.write(`${text}\n`);
  }

  failure(error: unknown): void {
    const failure = asFailure(error);
    if (this.json) writeJson({ ok: false, error: failure });
    else {
      process.stderr.write(`node-compute: ${failure.message}\n`);
      if (this.#debug && error instanceof Error) process.stderr.write(`${error.stack ?? ''}\n`);
    }
  }
}

function asFailure(error: unknown): { readonly code: string; readonly message: string } {
  if (ComputeError.is(error)) return error.toJSON() as { code: string; message: string };
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}

function writeJson(value: unknown): void {
  const text = JSON.stringify(value, (_key, one: unknown) =>
    typeof one === 'bigint' ? one.toString() : one,
  );
  process.stdout.write(`${text}\n`);
}

/** Colour and progress bars only where a person looks. */
export function isInteractive(stream: NodeJS.WriteStream): boolean {
  return stream.isTTY === true && process.env['NO_COLOR'] === undefined;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const plain = { style: isInteractive(process.stdout) ? {} : { head: [], border: [] } };
  const one = new Table({ head: [...head], ...plain });
  for (const row of rows) one.push([...row]);
  return one.toString();
}
