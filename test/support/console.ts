// A guest's live console, typed to.
import { once } from 'node:events';
import type { Duplex } from 'node:stream';

/** Types a line and returns what came until the expected answer. */
export async function type(console: Duplex, line: string, expected: RegExp): Promise<string> {
  let text = '';
  console.write(`${line}\n`);
  for (;;) {
    if (expected.test(text)) return text;
    const chunk: unknown = console.read();
    if (Buffer.isBuffer(chunk)) text += chunk.toString('utf8');
    else if (console.readableEnded || console.destroyed) throw new Error(`the console ended: ${text}`);
    else await once(console, 'readable');
  }
}
