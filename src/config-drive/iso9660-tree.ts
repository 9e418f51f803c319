// The files of an ISO 9660 image as a tree, with the checks that make every name one that all readers can show.
import { ComputeError } from '../driver/errors.js';

export interface IsoFile {
  /** `openstack/latest/meta_data.json`: no slash first, at most 8 names. */
  readonly path: string;
  readonly data: Uint8Array;
}

export interface IsoDirectory {
  readonly name: string;
  /** Of the root: itself. */
  readonly parent: IsoDirectory;
  readonly entries: Map<string, IsoEntry>;
}

export interface IsoLeaf {
  readonly name: string;
  readonly data: Uint8Array;
}

export type IsoEntry = IsoDirectory | IsoLeaf;

/** Joliet keeps 64 characters, two of them for the version. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,61}$/;
/** ECMA-119, 6.8.2.1: levels of directories, with the root; the file itself is one name more. */
const MAX_NAMES = 8;
const MAX_FILES = 1024;

export function isDirectory(entry: IsoEntry): entry is IsoDirectory {
  return 'entries' in entry;
}

/** Throws `INVALID_ARGUMENT`. */
export function isoTree(files: readonly IsoFile[]): IsoDirectory {
  if (files.length > MAX_FILES) throw invalid(`has more than ${MAX_FILES} files`);
  const root = makeRoot();
  for (const { path, data } of files) {
    const names = path.split('/');
    const name = names.pop() ?? '';
    if (names.length >= MAX_NAMES || ![...names, name].every((one) => NAME.test(one))) {
      throw invalid(`cannot have a file named ${JSON.stringify(path.slice(0, 255))}`);
    }
    let directory = root;
    for (const one of names) directory = subdirectory(directory, one, path);
    if (directory.entries.has(name)) throw invalid(`has ${path} twice`);
    directory.entries.set(name, { name, data });
  }
  return root;
}

function makeRoot(): IsoDirectory {
  const root = { name: '', entries: new Map<string, IsoEntry>() } as {
    -readonly [K in keyof IsoDirectory]: IsoDirectory[K];
  };
  root.parent = root;
  return root;
}

function subdirectory(parent: IsoDirectory, name: string, path: string): IsoDirectory {
  const standing = parent.entries.get(name);
  if (standing && !isDirectory(standing)) throw invalid(`has a file where ${path} needs a directory`);
  if (standing) return standing;
  const made: IsoDirectory = { name, parent, entries: new Map() };
  parent.entries.set(name, made);
  return made;
}

function invalid(what: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', `an ISO 9660 image ${what}`, { operation: 'configDrive' });
}
