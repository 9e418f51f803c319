// A process of its own that uses the built library and may kill itself: what it wrote before its end.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'vitest';

/** For the script's import. */
export const INDEX: string = JSON.stringify(new URL('../../dist/index.js', import.meta.url).href);

/** The JSON that the script printed; it finds its argument as JSON in `process.argv[1]`. */
export async function runScript<T>(script: string, argument: unknown): Promise<T> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(argument)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
  await once(child, 'close');
  expect(output, errors).not.toBe('');
  return JSON.parse(output) as T;
}
