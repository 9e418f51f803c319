// A failure as an exception of Nova's: the caller makes the message of the words, in its own language.
import { RpcFailure } from './errors.js';

/** Of nova.exception; `words` are those of its msg_fmt. */
export function novaFailure(name: string, words: Readonly<Record<string, string>> = {}): RpcFailure {
  const told = Object.entries(words).map(([word, value]) => `${word} ${value}`);
  return new RpcFailure({ class: name, message: [name, ...told].join(': '), kwargs: words });
}
