// node-compute image map: what a disk is made of.
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { type DiskExtent, type ImageLayer, openDisk } from '../../../image/disk.js';
import { action } from '../../command.js';
import { withOutputOptions } from '../../node-options.js';
import { table } from '../../output.js';
import { backing, maxSize } from './options.js';

export function mapCommand(): Command {
  interface Flags {
    readonly format: 'raw' | 'qcow2';
    readonly backing: readonly ImageLayer[];
    readonly maxSize: number;
  }
  return withOutputOptions(
    new Command('map')
      .description('tell which parts of the disk are data, compressed, zeros or holes, and in which image')
      .argument('<file>')
      .addOption(new Option('--format <format>').choices(['raw', 'qcow2']).makeOptionMandatory())
      .addOption(backing())
      .addOption(maxSize()),
  ).action(
    action(async (run, file: string, flags: Flags) => {
      const options = { maxVirtualBytes: flags.maxSize, signal: run.signal };
      using disk = await openDisk([{ path: resolve(file), format: flags.format }, ...flags.backing], options);
      const extents: DiskExtent[] = [];
      for await (const extent of disk.extents({ signal: run.signal })) extents.push(extent);
      run.output.result({ sizeBytes: disk.sizeBytes, extents }, extentTable(extents));
    }),
  );
}

function extentTable(extents: readonly DiskExtent[]): string {
  return table(
    ['OFFSET', 'BYTES', 'KIND', 'LAYER', 'IN FILE AT'],
    extents.map(({ offset, bytes, kind, layer, fileOffset }) => [
      String(offset),
      String(bytes),
      kind,
      String(layer),
      fileOffset === undefined ? '' : String(fileOffset),
    ]),
  );
}
