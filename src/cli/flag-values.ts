// What a flag may be given, for commander: text to value, or what is wrong with it.
import { InvalidArgumentError } from 'commander';
import type { ImageChecksum } from '../index.js';

export function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new InvalidArgumentError('must be a whole number');
  return Number(text);
}

export function append(value: string, all: readonly string[]): readonly string[] {
  return [...all, value];
}

export function pair(text: string, all: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('must be key=value');
  return { ...all, [text.slice(0, at)]: text.slice(at + 1) };
}

export function checksum(text: string): ImageChecksum {
  const found = /^(md5|sha256|sha512):([0-9a-f]+)$/i.exec(text);
  if (!found?.[1] || !found[2]) throw new InvalidArgumentError('must be sha256:HEX, sha512:HEX or md5:HEX');
  return { algorithm: found[1].toLowerCase() as ImageChecksum['algorithm'], value: found[2].toLowerCase() };
}
