// Times as people write them on the command line.
import { InvalidArgumentError } from 'commander';

export function seconds(text: string): number {
  if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError('must be a whole number of seconds');
  return Number(text);
}
