// One of the two trees of directories that an ISO 9660 image has over the same files: Rock Ridge's and Joliet's.
import {
  BLOCK_BYTES,
  blocksOf,
  directoryRecord,
  type Extent,
  extensionEntry,
  nameEntry,
  packRecords,
  pathTableRecord,
  posixEntry,
  setExtent,
  sharingEntry,
} from './iso9660-records.js';
import { type IsoDirectory, type IsoEntry, isDirectory } from './iso9660-tree.js';

/** How a hierarchy writes its names. */
export interface Naming {
  /** Of its volume descriptor. */
  readonly type: 1 | 2;
  readonly escapeSequence: string;
  readonly encode: (text: string) => Buffer;
  /** What fills a text that is shorter than its field. */
  readonly blank: Uint8Array;
  /** The identifiers of a directory's entries, each another. */
  readonly identifiers: (directory: IsoDirectory) => Map<IsoEntry, Buffer>;
  readonly systemUse: (entry: IsoEntry, role: RecordRole) => Buffer;
}

type RecordRole = 'self' | 'parent' | 'child';

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const ucs2 = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();
const NOTHING = Buffer.alloc(0);

export function rockRidgeHierarchy(root: IsoDirectory, time: Date): Hierarchy {
  const naming: Naming = {
    type: 1,
    escapeSequence: '',
    encode: latin1,
    blank: latin1(' '),
    identifiers: plainIdentifiers,
    systemUse: rockRidge,
  };
  return new Hierarchy(naming, root, time);
}

export function jolietHierarchy(root: IsoDirectory, time: Date): Hierarchy {
  const naming: Naming = {
    type: 2,
    escapeSequence: '%/E',
    encode: ucs2,
    blank: ucs2(' '),
    identifiers: ({ entries }) =>
      new Map(
        [...entries.values()].map((entry) => [
          entry,
          ucs2(isDirectory(entry) ? entry.name : `${entry.name};1`),
        ]),
      ),
    systemUse: () => NOTHING,
  };
  return new Hierarchy(naming, root, time);
}

interface Placed {
  readonly directory: IsoDirectory;
  readonly identifier: Buffer;
  /** Each with what it points to. */
  readonly records: readonly (readonly [IsoEntry, Buffer])[];
  /** In the path table, from 1. */
  readonly number: number;
  readonly bytes: number;
  block: number;
}

export interface HierarchyPlaces {
  readonly pathTableBytes: number;
  readonly littleEndianTable: number;
  readonly bigEndianTable: number;
  readonly root: Extent;
}

/** Placed first, then written when the files have their blocks too: the length of a record does not depend on them. */
export class Hierarchy {
  readonly naming: Naming;
  readonly #placed = new Map<IsoDirectory, Placed>();
  readonly #pathTableBytes: number;
  #first = 0;

  constructor(naming: Naming, root: IsoDirectory, time: Date) {
    this.naming = naming;
    // Level by level, in a level by parent, then by name: the order of the path table (ECMA-119, 6.9.1).
    const queue: (readonly [IsoDirectory, Buffer])[] = [[root, Buffer.of(0)]];
    for (const [directory, identifier] of queue) {
      const children = [...naming.identifiers(directory)].sort(([, a], [, b]) => Buffer.compare(a, b));
      const records = recordsOf(naming, directory, children, time);
      const bytes = packRecords(records.map(([, record]) => record)).length;
      const number = this.#placed.size + 1;
      this.#placed.set(directory, { directory, identifier, records, number, bytes, block: 0 });
      for (const [entry, name] of children) if (isDirectory(entry)) queue.push([entry, name]);
    }
    this.#pathTableBytes = this.#pathTable(false).length;
  }

  get places(): HierarchyPlaces {
    const [root] = this.#placed.values();
    return {
      pathTableBytes: this.#pathTableBytes,
      littleEndianTable: this.#first,
      bigEndianTable: this.#first + blocksOf(this.#pathTableBytes),
      root: { block: root?.block ?? 0, bytes: root?.bytes ?? 0 },
    };
  }

  /** Path tables and directories, from that block on. Returns the first block behind them. */
  place(first: number): number {
    this.#first = first;
    let end = first + 2 * blocksOf(this.#pathTableBytes);
    for (const placed of this.#placed.values()) {
      placed.block = end;
      end += blocksOf(placed.bytes);
    }
    return end;
  }

  /** @param files The block of each file's data. */
  write(image: Buffer, files: ReadonlyMap<Uint8Array, number>): void {
    const { littleEndianTable, bigEndianTable } = this.places;
    image.set(this.#pathTable(false), littleEndianTable * BLOCK_BYTES);
    image.set(this.#pathTable(true), bigEndianTable * BLOCK_BYTES);
    for (const { records, block } of this.#placed.values()) {
      for (const [entry, record] of records) setExtent(record, this.#extent(entry, files));
      image.set(packRecords(records.map(([, record]) => record)), block * BLOCK_BYTES);
    }
  }

  #extent(entry: IsoEntry, files: ReadonlyMap<Uint8Array, number>): Extent {
    if (!isDirectory(entry)) return { block: files.get(entry.data) ?? 0, bytes: entry.data.byteLength };
    const { block = 0, bytes = 0 } = this.#placed.get(entry) ?? {};
    return { block, bytes };
  }

  #pathTable(bigEndian: boolean): Buffer {
    return Buffer.concat(
      [...this.#placed.values()].map(({ identifier, block, directory }) =>
        pathTableRecord(identifier, block, this.#placed.get(directory.parent)?.number ?? 1, bigEndian),
      ),
    );
  }
}

/** Of a directory: itself, its parent, its entries. */
function recordsOf(
  { systemUse }: Naming,
  directory: IsoDirectory,
  children: readonly (readonly [IsoEntry, Buffer])[],
  time: Date,
): (readonly [IsoEntry, Buffer])[] {
  const record = (entry: IsoEntry, identifier: Buffer, role: RecordRole): readonly [IsoEntry, Buffer] => [
    entry,
    directoryRecord({ identifier, directory: isDirectory(entry), time, systemUse: systemUse(entry, role) }),
  ];
  return [
    record(directory, Buffer.of(0), 'self'),
    record(directory.parent, Buffer.of(1), 'parent'),
    ...children.map(([entry, identifier]) => record(entry, identifier, 'child')),
  ];
}

/** For its owner alone, root: there may be a password in it. */
const FILE_MODE = 0o100400;
const DIRECTORY_MODE = 0o040500;

function rockRidge(entry: IsoEntry, role: RecordRole): Buffer {
  const attributes = isDirectory(entry)
    ? posixEntry(DIRECTORY_MODE, 2 + [...entry.entries.values()].filter(isDirectory).length)
    : posixEntry(FILE_MODE, 1);
  if (role === 'child') return Buffer.concat([attributes, nameEntry(entry.name)]);
  const isRoot = isDirectory(entry) && entry.parent === entry;
  if (role === 'self' && isRoot) return Buffer.concat([sharingEntry(), attributes, extensionEntry()]);
  return attributes;
}

/** Level 2 of ECMA-119: 30 capitals, digits and `_` and a dot; a name that another has already gets a number at its end. */
function plainIdentifiers({ entries }: IsoDirectory): Map<IsoEntry, Buffer> {
  const taken = new Set<string>();
  const identifiers = new Map<IsoEntry, Buffer>();
  for (const entry of entries.values()) {
    const dot = isDirectory(entry) ? -1 : entry.name.lastIndexOf('.');
    const stem = plain(dot < 0 ? entry.name : entry.name.slice(0, dot));
    const extension = dot < 0 ? '' : plain(entry.name.slice(dot + 1)).slice(0, 8);
    // As readers show it, without `;1` and a dot at the end: a file is not to look like the directory beside it.
    const tail = extension && `.${extension}`;
    const room = 30 - extension.length;
    let shown = stem.slice(0, room) + tail;
    for (let number = 1; taken.has(shown); number += 1) {
      shown = stem.slice(0, room - String(number).length) + number + tail;
    }
    taken.add(shown);
    const end = isDirectory(entry) ? '' : extension ? ';1' : '.;1';
    identifiers.set(entry, latin1(shown + end));
  }
  return identifiers;
}

function plain(text: string): string {
  return text.toUpperCase().replace(/[^A-Z0-9_]/g, '_');
}
