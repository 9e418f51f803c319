// An ISO 9660 image in memory, with Rock Ridge for Linux guests and Joliet for Windows: equal input gives equal bytes.
import { ComputeError } from '../driver/errors.js';
import { type Hierarchy, jolietHierarchy, rockRidgeHierarchy } from './iso9660-hierarchy.js';
import {
  BLOCK_BYTES,
  blocksOf,
  directoryRecord,
  setBoth16,
  setBoth32,
  setExtent,
} from './iso9660-records.js';
import { type IsoFile, isoTree } from './iso9660-tree.js';

export const ISO_MAX_BYTES: number = 4 * 1024 ** 2;

/** Blocks 0 to 15 are left to boot loaders (ECMA-119, 6.2.1). */
const FIRST_DESCRIPTOR = 16;
const DESCRIPTORS = 3;
/** As many characters as Joliet has room for. */
const LABEL = /^[A-Za-z0-9_-]{1,16}$/;

/**
 * The image as bytes. The same array given as the data of two files is stored once. `time` becomes the time of all that is
 * in it. Throws `INVALID_ARGUMENT` where a name cannot be one in all three hierarchies, where a path is there twice, and
 * where the image would be larger than {@link ISO_MAX_BYTES}.
 *
 * ECMA-119 (ISO 9660) level 2, RRIP 1.09 (Rock Ridge), Joliet level 3.
 */
export function isoImage(label: string, files: readonly IsoFile[], time: Date): Uint8Array {
  if (!LABEL.test(label)) throw invalid(`${JSON.stringify(label)} cannot be the label of an ISO 9660 image`);
  const root = isoTree(files);
  const hierarchies = [rockRidgeHierarchy(root, time), jolietHierarchy(root, time)] as const;
  let end = FIRST_DESCRIPTOR + DESCRIPTORS;
  for (const hierarchy of hierarchies) end = hierarchy.place(end);
  const extents = new Map<Uint8Array, number>();
  for (const { data } of files) {
    if (extents.has(data)) continue;
    extents.set(data, end);
    // An empty file has a block too: readers want its extent within the volume.
    end += Math.max(1, blocksOf(data.byteLength));
    if (end * BLOCK_BYTES > ISO_MAX_BYTES) throw tooLarge();
  }
  const image = Buffer.alloc(end * BLOCK_BYTES);
  const [primary, joliet] = hierarchies;
  writeDescriptor(blockAt(image, FIRST_DESCRIPTOR), primary, label, end, time);
  writeDescriptor(blockAt(image, FIRST_DESCRIPTOR + 1), joliet, label, end, time);
  writeTerminator(blockAt(image, FIRST_DESCRIPTOR + 2));
  for (const hierarchy of hierarchies) hierarchy.write(image, extents);
  for (const [data, block] of extents) image.set(data, block * BLOCK_BYTES);
  return image;
}

function blockAt(image: Buffer, block: number): Buffer {
  return image.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
}

/** Primary (8.4) or supplementary (8.5) volume descriptor of ECMA-119; numbers are offsets in bytes. */
function writeDescriptor(
  block: Buffer,
  hierarchy: Hierarchy,
  label: string,
  volumeBlocks: number,
  time: Date,
): void {
  const { type, escapeSequence, encode, blank } = hierarchy.naming;
  const text = (offset: number, length: number, value = ''): void => {
    for (let at = offset; at + blank.length <= offset + length; at += blank.length) block.set(blank, at);
    block.set(encode(value), offset);
  };
  block[0] = type;
  block.write('CD001\x01', 1, 'latin1');
  text(8, 32, 'LINUX');
  text(40, 32, label);
  setBoth32(block, 80, volumeBlocks);
  block.write(escapeSequence, 88, 'latin1');
  setBoth16(block, 120, 1);
  setBoth16(block, 124, 1);
  setBoth16(block, 128, BLOCK_BYTES);
  const { pathTableBytes, littleEndianTable, bigEndianTable, root } = hierarchy.places;
  setBoth32(block, 132, pathTableBytes);
  block.writeUInt32LE(littleEndianTable, 140);
  block.writeUInt32BE(bigEndianTable, 148);
  const record = directoryRecord({ identifier: Buffer.of(0), directory: true, time });
  setExtent(record, root);
  block.set(record, 156);
  for (const offset of [190, 318, 446, 574]) text(offset, 128);
  for (const offset of [702, 739, 776]) text(offset, 37);
  writeLongTime(block, 813, time);
  writeLongTime(block, 830, time);
  writeLongTime(block, 847, undefined);
  writeLongTime(block, 864, undefined);
  block[881] = 1;
}

/** 8.3. */
function writeTerminator(block: Buffer): void {
  block[0] = 255;
  block.write('CD001\x01', 1, 'latin1');
}

/** 8.4.26.1: digits, then the offset from UTC, which is 0. */
function writeLongTime(block: Buffer, offset: number, time: Date | undefined): void {
  const digits = time ? time.toISOString().replace(/\D/g, '').slice(0, 16) : '';
  block.write(digits.padEnd(16, '0'), offset, 'latin1');
}

function tooLarge(): ComputeError {
  return invalid(`the config drive would be larger than ${ISO_MAX_BYTES / 1024 ** 2} MiB; give it less`);
}

function invalid(message: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', message, { operation: 'configDrive' });
}
