import { PassThrough } from 'node:stream';
import { expect, it, vi } from 'vitest';
import { attach, untilEscape } from '../../../src/cli/console-session.js';

function session() {
  const [console, input, output] = [new PassThrough(), new PassThrough(), new PassThrough()];
  const terminal = { input, output } as unknown as Parameters<typeof attach>[1];
  return { console, input, output, terminal };
}

it('passes keys on up to Ctrl-], and leaves then', async () => {
  const { console, input, output, terminal } = session();
  const outcome = attach(console, terminal, new AbortController().signal);
  const seen: string[] = [];
  output.on('data', (data: Buffer) => seen.push(data.toString()));
  input.write('ls\n');
  await vi.waitFor(() => expect(seen.join('')).toBe('ls\n'));
  input.write('exit\n\x1dnot this');
  expect(await outcome).toBe('escaped');
  expect(seen.join('')).toBe('ls\nexit\n');
  expect(input.listenerCount('data')).toBe(0);
});

it('ends with the guest, and with a signal', async () => {
  const { console, terminal } = session();
  const ended = attach(console, terminal, new AbortController().signal);
  console.end();
  expect(await ended).toBe('ended');
  const controller = new AbortController();
  const second = session();
  const left = attach(second.console, second.terminal, controller.signal);
  controller.abort();
  expect(await left).toBe('escaped');
});

it('finds the escape key anywhere', () => {
  expect(untilEscape(Buffer.from('ab\x1dc'))).toEqual({ rest: Buffer.from('ab'), escaped: true });
  expect(untilEscape(Buffer.from('abc'))).toEqual({ rest: Buffer.from('abc'), escaped: false });
});
