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
  readonly systemUse: (entry: IsoEntry, record: 'self' | 'parent' | 'child') => Buffer;
}

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

interface PlacedDirectory {
  readonly directory: IsoDirectory;
  readonly identifier: Buffer;
  readonly children: readonly (readonly [IsoEntry, Buffer])[];
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
  readonly #time: Date;
  readonly #placed = new Map<IsoDirectory, PlacedDirectory>();
  readonly #pathTableBytes: number;
  #first = 0;

  constructor(naming: Naming, root: IsoDirectory, time: Date) {
    this.naming = naming;
    this.#time = time;
    // Level by level, in a level by parent, then by name: the order of the path table (ECMA-119, 6.9.1).
    const queue: (readonly [IsoDirectory, Buffer])[] = [[root, Buffer.of(0)]];
    for (const [directory, identifier] of queue) {
      const children = [...naming.identifiers(directory)].sort(([, a], [, b]) => Buffer.compare(a, b));
      const bytes = packRecords(this.#records(directory, children, () => ({ block: 0, bytes: 0 }))).length;
      const number = this.#placed.size + 1;
      this.#placed.set(directory, { directory, identifier, children, number, bytes, block: 0 });
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

  write(image: Buffer, extents: ReadonlyMap<Uint8Array, number>): void {
    const { littleEndianTable, bigEndianTable } = this.places;
    image.set(this.#pathTable(false), littleEndianTable * BLOCK_BYTES);
    image.set(this.#pathTable(true), bigEndianTable * BLOCK_BYTES);
    const locate = (entry: IsoEntry): Extent =>
      isDirectory(entry)
        ? { block: this.#placed.get(entry)?.block ?? 0, bytes: this.#placed.get(entry)?.bytes ?? 0 }
        : { block: extents.get(entry.data) ?? 0, bytes: entry.data.byteLength };
    for (const { directory, children, block } of this.#placed.values()) {
      image.set(packRecords(this.#records(directory, children, locate)), block * BLOCK_BYTES);
    }
  }

  #pathTable(bigEndian: boolean): Buffer {
    return Buffer.concat(
      [...this.#placed.values()].map(({ identifier, block, directory }) =>
        pathTableRecord(identifier, block, this.#placed.get(directory.parent)?.number ?? 1, bigEndian),
      ),
    );
  }

  #records(
    directory: IsoDirectory,
    children: readonly (readonly [IsoEntry, Buffer])[],
    locate: (entry: IsoEntry) => Extent,
  ): Buffer[] {
    const { systemUse } = this.naming;
    const time = this.#time;
    const special = (entry: IsoDirectory, byte: number, record: 'self' | 'parent'): Buffer =>
      directoryRecord({
        identifier: Buffer.of(byte),
        directory: true,
        ...locate(entry),
        time,
        systemUse: systemUse(entry, record),
      });
    return [
      special(directory, 0, 'self'),
      special(directory.parent, 1, 'parent'),
      ...children.map(([entry, identifier]) =>
        directoryRecord({
          identifier,
          directory: isDirectory(entry),
          ...locate(entry),
          time,
          systemUse: systemUse(entry, 'child'),
        }),
      ),
    ];
  }
}

/** For its owner alone, root: there may be a password in it. */
const FILE_MODE = 0o100400;
const DIRECTORY_MODE = 0o040500;

function rockRidge(entry: IsoEntry, record: 'self' | 'parent' | 'child'): Buffer {
  const attributes = isDirectory(entry)
    ? posixEntry(DIRECTORY_MODE, 2 + [...entry.entries.values()].filter(isDirectory).length)
    : posixEntry(FILE_MODE, 1);
  if (record === 'child') return Buffer.concat([attributes, nameEntry(entry.name)]);
  const isRoot = isDirectory(entry) && entry.parent === entry;
  if (record === 'self' && isRoot) return Buffer.concat([sharingEntry(), attributes, extensionEntry()]);
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
    const tail = isDirectory(entry) ? '' : `.${extension};1`;
    const room = 30 - extension.length;
    let identifier = stem.slice(0, room) + tail;
    for (let number = 1; taken.has(identifier); number += 1) {
      identifier = stem.slice(0, room - String(number).length) + number + tail;
    }
    taken.add(identifier);
    identifiers.set(entry, latin1(identifier));
  }
  return identifiers;
}

function plain(text: string): string {
  return text.toUpperCase().replace(/[^A-Z0-9_]/g, '_');
}
