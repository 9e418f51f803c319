// A script in a process of its own, which may kill itself: given one argument as JSON, asked for what it wrote.
import { spawn } from 'node:child_process';
import { expect } from 'vitest';

/** What it wrote to standard output; something, or the test fails with what it wrote to standard error. */
export async function runScript(script: string, argument: unknown): Promise<string> {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script, JSON.stringify(argument)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  let errors = '';
  child.stdout.on('data', (data: Buffer) => (output += data.toString()));
  child.stderr.on('data', (data: Buffer) => (errors += data.toString()));
  await new Promise((resolve) => child.on('close', resolve));
  expect(output, errors).not.toBe('');
  return output;
}
