// The records of an ISO 9660 image: numbers in both byte orders, directory records, Rock Ridge's entries behind them.

export const BLOCK_BYTES = 2048;

export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / BLOCK_BYTES);
}

export function setBoth16(target: Buffer, offset: number, value: number): void {
  target.writeUInt16LE(value, offset);
  target.writeUInt16BE(value, offset + 2);
}

export function setBoth32(target: Buffer, offset: number, value: number): void {
  target.writeUInt32LE(value, offset);
  target.writeUInt32BE(value, offset + 4);
}

/** Where something lies. */
export interface Extent {
  readonly block: number;
  readonly bytes: number;
}

export interface RecordFields {
  readonly identifier: Uint8Array;
  readonly directory: boolean;
  readonly time: Date;
  /** Behind the identifier: Rock Ridge. */
  readonly systemUse?: Uint8Array;
}

/**
 * ECMA-119, 9.1; {@link setExtent} completes it. Names are short enough (isoTree) that no record is longer than its one byte
 * of length can say.
 */
export function directoryRecord(fields: RecordFields): Buffer {
  const { identifier, directory, time, systemUse = new Uint8Array() } = fields;
  const fixed = 33 + identifier.length + (identifier.length % 2 === 0 ? 1 : 0);
  const length = fixed + systemUse.length;
  const record = Buffer.alloc(length + (length % 2));
  record[0] = record.length;
  record.set(shortTime(time), 18);
  record[25] = directory ? 2 : 0;
  setBoth16(record, 28, 1);
  record[32] = identifier.length;
  record.set(identifier, 33);
  record.set(systemUse, fixed);
  return record;
}

/** What a directory record points to. */
export function setExtent(record: Buffer, { block, bytes }: Extent): void {
  setBoth32(record, 2, block);
  setBoth32(record, 10, bytes);
}

/** 9.1.5: years since 1900, and the offset from UTC, which is 0. */
function shortTime(time: Date): number[] {
  return [
    time.getUTCFullYear() - 1900,
    time.getUTCMonth() + 1,
    time.getUTCDate(),
    time.getUTCHours(),
    time.getUTCMinutes(),
    time.getUTCSeconds(),
    0,
  ];
}

/** 9.4, in one of its two byte orders. */
export function pathTableRecord(
  identifier: Uint8Array,
  block: number,
  parent: number,
  bigEndian: boolean,
): Buffer {
  const record = Buffer.alloc(8 + identifier.length + (identifier.length % 2));
  record[0] = identifier.length;
  if (bigEndian) {
    record.writeUInt32BE(block, 2);
    record.writeUInt16BE(parent, 6);
  } else {
    record.writeUInt32LE(block, 2);
    record.writeUInt16LE(parent, 6);
  }
  record.set(identifier, 8);
  return record;
}

/** What a directory holds; no record crosses the end of a block (6.8.1.1). */
export function packRecords(records: readonly Buffer[]): Buffer {
  const blocks: Buffer[][] = [[]];
  let used = 0;
  for (const record of records) {
    if (used + record.length > BLOCK_BYTES) {
      blocks.push([]);
      used = 0;
    }
    blocks.at(-1)?.push(record);
    used += record.length;
  }
  const packed = Buffer.alloc(blocks.length * BLOCK_BYTES);
  for (const [index, block] of blocks.entries()) packed.set(Buffer.concat(block), index * BLOCK_BYTES);
  return packed;
}

/** SUSP 5.3: says that entries of this kind follow. First behind the root's record of itself. */
export function sharingEntry(): Buffer {
  return Buffer.of(0x53, 0x50, 7, 1, 0xbe, 0xef, 0);
}

const EXTENSION = 'RRIP_1991A';
const DESCRIPTION = 'THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS';

/** SUSP 5.5: says which entries. */
export function extensionEntry(): Buffer {
  const length = 8 + EXTENSION.length + DESCRIPTION.length;
  return Buffer.concat([
    Buffer.of(0x45, 0x52, length, 1, EXTENSION.length, DESCRIPTION.length, 0, 1),
    Buffer.from(EXTENSION + DESCRIPTION, 'latin1'),
  ]);
}

/** RRIP 4.1.1: mode and links; owned by root. */
export function posixEntry(mode: number, links: number): Buffer {
  const entry = Buffer.alloc(36);
  entry.set([0x50, 0x58, entry.length, 1]);
  setBoth32(entry, 4, mode);
  setBoth32(entry, 12, links);
  return entry;
}

/** RRIP 4.1.4. */
export function nameEntry(name: string): Buffer {
  return Buffer.concat([Buffer.of(0x4e, 0x4d, 5 + name.length, 1, 0), Buffer.from(name, 'latin1')]);
}
