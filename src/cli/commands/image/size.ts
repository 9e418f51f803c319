// Sizes as people write them on the command line.
import { InvalidArgumentError } from 'commander';

/** `20G`, `512M`, `65536`. */
export function size(text: string): number {
  const found = /^(\d{1,15})([KMGT]?)$/i.exec(text);
  const bytes = found
    ? Number(found[1]) * 1024 ** ' KMGT'.indexOf((found[2] || ' ').toUpperCase())
    : Number.NaN;
  if (!Number.isSafeInteger(bytes))
    throw new InvalidArgumentError('must be a number of bytes, such as 65536 or 20G');
  return bytes;
}
