// Commands that were taken from the broker and are not finished, on disk: a process that dies forgets none of them.
import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ComputeError } from '../driver/errors.js';
import { BoundedFolder, type FolderLimits } from './bounded-folder.js';

/** What the RPC server needs of a journal. Each promise resolves when the state of before cannot come back. */
export interface CommandJournal {
  /** Before the broker forgets the command. `known`: it was recorded before, and needs nothing. */
  record(id: string, body: Buffer): Promise<'recorded' | 'known'>;
  /**
   * Before each try. `spent`: it was under way in too many processes that died, and is not to be tried again; whom it concerns
   * may be told, then it is to be set aside. `set-aside`: a process died over that, too.
   */
  begin(id: string): Promise<'begun' | 'spent' | 'set-aside'>;
  /** Of one that is spent. */
  setAside(id: string): Promise<void>;
  /** Whatever came of it. */
  finish(id: string): Promise<void>;
  /** It was cut short in good order, so this try does not count. */
  release(id: string): Promise<void>;
  /** Those recorded and not finished, in the order of record; `tries` died with their process. */
  unfinished(): Promise<readonly UnfinishedCommand[]>;
  /**
   * Of a message that came again, before it is read: it may be what killed the process that had it. `set-aside`: it came
   * too often, is kept apart, and the broker may forget it.
   */
  suspect(body: Buffer): Promise<'may-pass' | 'set-aside'>;
  /** A suspect was read without harm. */
  clear(body: Buffer): Promise<void>;
}

export interface UnfinishedCommand {
  readonly id: string;
  readonly tries: number;
  /** It will not be tried again. */
  readonly isSpent: boolean;
  readonly body: Buffer;
}

export interface FileCommandJournalOptions {
  /** Tries that may die. Default 3. */
  readonly mostTries?: number;
  /** Finished commands whose copies are known as such after a restart. Default 4096. */
  readonly mostFinished?: number;
  /** Of what is set aside, and of suspects: the oldest go. Default 256 files, 64 MiB, of each. */
  readonly mostKept?: FolderLimits;
  /** Files of a folder that went for newer ones. Must not throw. */
  readonly onDropped?: (folder: 'set-aside' | 'suspects', names: readonly string[]) => void;
}

const KEPT: FolderLimits = { mostFiles: 256, mostBytes: 64 * 1024 * 1024 };

/*
 * One file a command, `<sequence>-<id>.<tries>`: a try is a rename, so it is counted whole or not at all. Files hold the
 * message as it came, with tokens and passwords in it: they are for root alone, and empty once the command is finished.
 */
const NAME = /^(\d{12})-([\w-]{1,128})\.(\d{1,3})$/;
const SUSPECT = /^([0-9a-f]{64})\.(\d{1,3})$/;

interface Entry {
  readonly sequence: string;
  tries: number;
}

/** One process at a time has the directory: its owner sees to that. */
export class FileCommandJournal implements CommandJournal {
  readonly #directory: string;
  readonly #mostTries: number;
  readonly #mostFinished: number;
  readonly #entries = new Map<string, Entry>();
  readonly #suspects = new Map<string, number>();
  readonly #suspectFiles: BoundedFolder;
  readonly #setAside: BoundedFolder;
  /** Names, oldest first. */
  readonly #finished = new Map<string, string>();
  #sequence = 0;

  /** Creates the directory, 0700, and reads what is in it. Rejects with `SYSTEM`. */
  static async open(directory: string, options: FileCommandJournalOptions = {}): Promise<FileCommandJournal> {
    const journal = new FileCommandJournal(directory, options);
    await system('open', () => journal.#load());
    return journal;
  }

  private constructor(directory: string, options: FileCommandJournalOptions) {
    const { mostTries = 3, mostFinished = 4096, mostKept = KEPT, onDropped } = options;
    this.#directory = directory;
    this.#mostTries = mostTries;
    this.#mostFinished = mostFinished;
    this.#suspectFiles = new BoundedFolder(this.#path('suspects'), mostKept, (names) => {
      for (const name of names) this.#suspects.delete(name.split('.')[0] ?? '');
      onDropped?.('suspects', names);
    });
    this.#setAside = new BoundedFolder(this.#path('set-aside'), mostKept, (names) =>
      onDropped?.('set-aside', names),
    );
  }

  record(id: string, body: Buffer): Promise<'recorded' | 'known'> {
    return system('record a command', async () => {
      if (this.#entries.has(id) || this.#finished.has(id)) return 'known';
      const entry = { sequence: this.#nextSequence(), tries: 0 };
      this.#entries.set(id, entry);
      try {
        await this.#write('commands', fileName(id, entry), body);
      } catch (error) {
        this.#entries.delete(id);
        throw error;
      }
      return 'recorded';
    });
  }

  begin(id: string): Promise<'begun' | 'spent' | 'set-aside'> {
    return system('begin a command', async () => {
      const entry = this.#entry(id);
      // One more than it had is for telling of it.
      if (entry.tries > this.#mostTries) {
        await this.#keepApart(id, entry);
        return 'set-aside';
      }
      const from = this.#path('commands', fileName(id, entry));
      await this.#move(from, this.#path('commands', fileName(id, { ...entry, tries: entry.tries + 1 })));
      entry.tries++;
      return entry.tries > this.#mostTries ? 'spent' : 'begun';
    });
  }

  setAside(id: string): Promise<void> {
    return system('set a command aside', () => this.#keepApart(id, this.#entry(id)));
  }

  finish(id: string): Promise<void> {
    return system('finish a command', async () => {
      const entry = this.#entry(id);
      const name = fileName(id, entry);
      // Empty is finished already: what follows may be left to the next start.
      await truncate(this.#path('commands', name));
      await this.#move(this.#path('commands', name), this.#path('finished', name));
      this.#entries.delete(id);
      this.#remember(id, name);
      await this.#forgetOldest();
    });
  }

  release(id: string): Promise<void> {
    return system('release a command', async () => {
      const entry = this.#entry(id);
      if (entry.tries === 0) return;
      const to = fileName(id, { ...entry, tries: entry.tries - 1 });
      await this.#move(this.#path('commands', fileName(id, entry)), this.#path('commands', to));
      entry.tries--;
    });
  }

  unfinished(): Promise<readonly UnfinishedCommand[]> {
    return system('read the journal', async () => {
      const entries = [...this.#entries].sort(([, a], [, b]) => (a.sequence < b.sequence ? -1 : 1));
      const commands: UnfinishedCommand[] = [];
      for (const [id, entry] of entries) {
        const body = await readFile(this.#path('commands', fileName(id, entry)));
        commands.push({ id, tries: entry.tries, isSpent: entry.tries >= this.#mostTries, body });
      }
      return commands;
    });
  }

  suspect(body: Buffer): Promise<'may-pass' | 'set-aside'> {
    return system('note a message that came again', async () => {
      const digest = digestOf(body);
      const tries = this.#suspects.get(digest) ?? 0;
      const before = `${digest}.${tries}`;
      const from = this.#path('suspects', before);
      // The first time it came it was no suspect.
      if (tries + 1 >= this.#mostTries) {
        if (tries === 0) await this.#write('set-aside', before, body);
        else await this.#move(from, this.#path('set-aside', before));
        this.#suspects.delete(digest);
        this.#suspectFiles.forget(before);
        await this.#setAside.add(before, body.length);
        return 'set-aside';
      }
      const now = `${digest}.${tries + 1}`;
      if (tries === 0) await this.#write('suspects', now, body);
      else await this.#move(from, this.#path('suspects', now));
      this.#suspects.set(digest, tries + 1);
      this.#suspectFiles.forget(before);
      await this.#suspectFiles.add(now, body.length);
      return 'may-pass';
    });
  }

  clear(body: Buffer): Promise<void> {
    return system('clear a message', async () => {
      const digest = digestOf(body);
      const tries = this.#suspects.get(digest);
      if (tries === undefined) return;
      this.#suspects.delete(digest);
      this.#suspectFiles.forget(`${digest}.${tries}`);
      await rm(this.#path('suspects', `${digest}.${tries}`), { force: true });
    });
  }

  async #keepApart(id: string, entry: Entry): Promise<void> {
    const name = fileName(id, entry);
    const { size } = await stat(this.#path('commands', name));
    await this.#move(this.#path('commands', name), this.#path('set-aside', name));
    this.#entries.delete(id);
    this.#remember(id, '');
    await this.#setAside.add(name, size);
  }

  async #load(): Promise<void> {
    for (const name of ['commands', 'finished', 'suspects', 'set-aside', 'temporary']) {
      await mkdir(this.#path(name), { recursive: true, mode: 0o700 });
    }
    for (const name of await readdir(this.#path('temporary'))) await rm(this.#path('temporary', name));
    for (const name of (await readdir(this.#path('finished'))).sort()) this.#loadFinished(name);
    for (const name of await readdir(this.#path('commands'))) await this.#loadCommand(name);
    await this.#setAside.load();
    for (const name of await this.#suspectFiles.load()) {
      const [, digest, tries] = SUSPECT.exec(name) ?? [];
      if (digest !== undefined) this.#suspects.set(digest, Number(tries));
    }
    await this.#forgetOldest();
  }

  #loadFinished(name: string): void {
    const [, sequence, id] = NAME.exec(name) ?? [];
    if (id === undefined) return;
    this.#sequence = Math.max(this.#sequence, Number(sequence));
    this.#remember(id, name);
  }

  async #loadCommand(name: string): Promise<void> {
    const [, sequence, id, tries] = NAME.exec(name) ?? [];
    if (sequence === undefined || id === undefined) return;
    this.#sequence = Math.max(this.#sequence, Number(sequence));
    const { length } = await readFile(this.#path('commands', name));
    this.#entries.set(id, { sequence, tries: Number(tries) });
    if (length === 0) await this.finish(id);
  }

  async #write(folder: string, name: string, body: Buffer): Promise<void> {
    const temporary = this.#path('temporary', name);
    await writeFile(temporary, body, { mode: 0o600, flag: 'w', flush: true });
    await this.#move(temporary, this.#path(folder, name));
  }

  async #move(from: string, to: string): Promise<void> {
    await rename(from, to);
    await sync(join(to, '..'));
  }

  #remember(id: string, name: string): void {
    this.#finished.set(id, name);
  }

  async #forgetOldest(): Promise<void> {
    for (const [id, name] of this.#finished) {
      if (this.#finished.size <= this.#mostFinished) return;
      this.#finished.delete(id);
      if (name !== '') await rm(this.#path('finished', name), { force: true });
    }
  }

  #nextSequence(): string {
    this.#sequence += 1;
    return String(this.#sequence).padStart(12, '0');
  }

  #entry(id: string): Entry {
    const entry = this.#entries.get(id);
    if (!entry) throw new ComputeError('INTERNAL', `the journal has no unfinished command ${id}`);
    return entry;
  }

  #path(...names: readonly string[]): string {
    return join(this.#directory, ...names);
  }
}

function fileName(id: string, { sequence, tries }: Readonly<Entry>): string {
  return `${sequence}-${id}.${tries}`;
}

function digestOf(body: Buffer): string {
  return createHash('sha256').update(body).digest('hex');
}

async function sync(directory: string): Promise<void> {
  const handle = await open(directory);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function system<T>(operation: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (ComputeError.is(error)) throw error;
    const { code, path, message } = error as NodeJS.ErrnoException;
    const noSpace = code === 'ENOSPC' || code === 'EDQUOT';
    throw new ComputeError(noSpace ? 'NO_SPACE' : 'SYSTEM', `cannot ${operation}: ${message}`, {
      operation,
      retryable: noSpace,
      cause: error,
      details: { errno: code, path },
    });
  }
}
