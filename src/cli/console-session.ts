// A person at the serial console of an instance: keys to the guest, its output to the terminal, until the escape key.
import type { Duplex } from 'node:stream';

/** Ctrl-], as virsh and telnet. */
export const ESCAPE = 0x1d;

/** Given to a guest to take what was typed before the escape key. */
const LAST_KEYS_MS = 500;

interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
}

/** `escaped`: by the key or the signal; `ended`: the guest stopped. The terminal is as before in each case. */
export async function attach(
  console: Duplex,
  { input, output }: Terminal,
  signal: AbortSignal,
): Promise<'escaped' | 'ended'> {
  return await new Promise((resolve, reject) => {
    let outcome: 'escaped' | 'ended' = 'ended';
    const leave = (): void => {
      if (console.destroyed) return;
      outcome = 'escaped';
      console.destroy();
    };
    const onKeys = (keys: Buffer): void => {
      const { rest, escaped } = untilEscape(keys);
      if (escaped) {
        // What was typed before the escape key still reaches the guest, if that listens.
        if (rest.length > 0) console.write(rest, leave);
        setTimeout(leave, rest.length > 0 ? LAST_KEYS_MS : 0);
      } else if (!console.write(rest)) {
        input.pause();
        console.once('drain', () => input.resume());
      }
    };
    if (input.isTTY) input.setRawMode(true);
    input.on('data', onKeys);
    input.resume();
    signal.addEventListener('abort', leave, { once: true });
    console.once('error', reject);
    console.once('close', () => {
      input.off('data', onKeys);
      input.pause();
      if (input.isTTY) input.setRawMode(false);
      signal.removeEventListener('abort', leave);
      resolve(outcome);
    });
    console.pipe(output, { end: false });
    if (signal.aborted) leave();
  });
}

export function untilEscape(keys: Buffer): { readonly rest: Buffer; readonly escaped: boolean } {
  const at = keys.indexOf(ESCAPE);
  return at < 0 ? { rest: keys, escaped: false } : { rest: keys.subarray(0, at), escaped: true };
}
