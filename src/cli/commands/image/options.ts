// Options that several image commands take.
import { resolve } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import type { ImageLayer } from '../../../image/disk.js';
import { MOST_BYTES } from '../../../image/image-options.js';
import { size } from './size.js';

export const maxSize = (): Option =>
  new Option('--max-size <bytes>', 'of the disk in it; K, M, G, T are powers of 1024')
    .argParser(size)
    .default(MOST_BYTES, '16T');

export const backing = (): Option =>
  new Option('--backing <format:file>', 'the image below; again for the one below that')
    .argParser((text, before: readonly ImageLayer[]) => [...before, layer(text)])
    .default([], 'none');

/** `raw:base.img`, `qcow2:/images/overlay`. */
function layer(text: string): ImageLayer {
  const [, format, path] = /^(raw|qcow2):(.+)$/s.exec(text) ?? [];
  if (format === undefined || path === undefined) {
    throw new InvalidArgumentError('must be raw:<file> or qcow2:<file>');
  }
  return { path: resolve(path), format: format as ImageLayer['format'] };
}
