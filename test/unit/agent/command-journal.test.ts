import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { FileCommandJournal, type FileCommandJournalOptions } from '../../../src/agent/command-journal.js';

function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'node-compute-journal-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** As a process that died left it. */
const reopen = (directory: string, options?: FileCommandJournalOptions): Promise<FileCommandJournal> =>
  FileCommandJournal.open(directory, options);
const body = (text: string): Buffer => Buffer.from(text);
const ids = async (journal: FileCommandJournal): Promise<unknown[]> =>
  (await journal.unfinished()).map(({ id, tries, body }) => [id, tries, body.toString()]);

it('commands that were not finished are there in their order, and whether they were begun', async () => {
  const directory = scratch();
  const journal = await reopen(directory);
  for (const id of ['c', 'a', 'b', 'd']) await journal.record(id, body(`body of ${id}`));
  await journal.begin('a');
  await journal.finish('a');
  await journal.begin('b');
  await journal.begin('d');
  await journal.release('d');
  const expected = [
    ['c', 0, 'body of c'],
    ['b', 1, 'body of b'],
    ['d', 0, 'body of d'],
  ];
  expect(await ids(journal)).toEqual(expected);
  const next = await reopen(directory);
  expect(await ids(next)).toEqual(expected);
  await next.record('e', body('later'));
  expect((await ids(next)).at(-1)).toEqual(['e', 0, 'later']);
});

it('a copy is known, during and after, and in the next process', async () => {
  const directory = scratch();
  const journal = await reopen(directory);
  expect(await journal.record('a', body('1'))).toBe('recorded');
  expect(await journal.record('a', body('1'))).toBe('known');
  await journal.begin('a');
  await journal.finish('a');
  expect(await journal.record('a', body('1'))).toBe('known');
  expect(await (await reopen(directory)).record('a', body('1'))).toBe('known');
});

it('remembers only so many that are finished', async () => {
  const directory = scratch();
  const journal = await reopen(directory, { mostFinished: 2 });
  for (const id of ['a', 'b', 'c']) {
    await journal.record(id, body(id));
    await journal.begin(id);
    await journal.finish(id);
  }
  expect(readdirSync(join(directory, 'finished'))).toHaveLength(2);
  const next = await reopen(directory, { mostFinished: 1 });
  expect(readdirSync(join(directory, 'finished'))).toHaveLength(1);
  expect(await next.record('c', body('c'))).toBe('known');
  expect(await next.record('a', body('a'))).toBe('recorded');
});

it('a command that killed three processes is told of once, and set aside with its message', async () => {
  const directory = scratch();
  await (await reopen(directory)).record('bad', body('poison'));
  for (let life = 0; life < 3; life++) expect(await (await reopen(directory)).begin('bad')).toBe('begun');
  const journal = await reopen(directory);
  expect(await journal.unfinished()).toMatchObject([{ id: 'bad', tries: 3, isSpent: true }]);
  expect(await journal.begin('bad')).toBe('spent');
  await journal.setAside('bad');
  expect(await journal.unfinished()).toEqual([]);
  expect(await journal.record('bad', body('poison'))).toBe('known');
  const [name = ''] = readdirSync(join(directory, 'set-aside'));
  expect(name).toContain('-bad.4');
  expect(readFileSync(join(directory, 'set-aside', name), 'utf8')).toBe('poison');
  expect(await (await reopen(directory)).unfinished()).toEqual([]);
});

it('a command that kills even who tells of it is set aside; one that was cut short there is told of again', async () => {
  const directory = scratch();
  const journal = await reopen(directory, { mostTries: 1 });
  for (const id of ['bad', 'slow']) {
    await journal.record(id, body(id));
    expect(await journal.begin(id)).toBe('begun');
  }
  const second = await reopen(directory, { mostTries: 1 });
  for (const id of ['bad', 'slow']) expect(await second.begin(id)).toBe('spent');
  await second.release('slow');
  const third = await reopen(directory, { mostTries: 1 });
  expect(await third.begin('bad')).toBe('set-aside');
  expect(await third.begin('slow')).toBe('spent');
  expect((await third.unfinished()).map(({ id }) => id)).toEqual(['slow']);
  expect(readdirSync(join(directory, 'set-aside'))).toHaveLength(1);
});

it('a message that came again and again without being read is set aside; one that was read is forgotten', async () => {
  const directory = scratch();
  const poison = body('unreadable');
  expect(await (await reopen(directory)).suspect(poison)).toBe('may-pass');
  expect(await (await reopen(directory)).suspect(poison)).toBe('may-pass');
  expect(await (await reopen(directory)).suspect(poison)).toBe('set-aside');
  expect(readdirSync(join(directory, 'suspects'))).toEqual([]);
  const journal = await reopen(directory);
  for (let count = 0; count < 5; count++) {
    expect(await journal.suspect(body('harmless'))).toBe('may-pass');
    await journal.clear(body('harmless'));
  }
  expect(readdirSync(join(directory, 'suspects'))).toEqual([]);
  const strict = await reopen(scratch(), { mostTries: 1 });
  expect(await strict.suspect(body('any'))).toBe('set-aside');
});

it('holds secrets: for its owner alone, and gone once the command is finished', async () => {
  const directory = scratch();
  const journal = await reopen(directory);
  await journal.record('a', body('token'));
  const [name = ''] = readdirSync(join(directory, 'commands'));
  expect(statSync(join(directory, 'commands', name)).mode & 0o777).toBe(0o600);
  expect(statSync(join(directory, 'commands')).mode & 0o777).toBe(0o700);
  await journal.begin('a');
  await journal.finish('a');
  const [finished = ''] = readdirSync(join(directory, 'finished'));
  expect(readFileSync(join(directory, 'finished', finished), 'utf8')).toBe('');
});

it('finishes what a process died in the middle of finishing, and leaves half-written files behind', async () => {
  const directory = scratch();
  const journal = await reopen(directory);
  await journal.record('a', body('1'));
  await journal.begin('a');
  const [name = ''] = readdirSync(join(directory, 'commands'));
  truncateSync(join(directory, 'commands', name));
  writeFileSync(join(directory, 'temporary', '000000000009-half.0'), 'ha');
  writeFileSync(join(directory, 'commands', 'README'), 'not ours');
  const next = await reopen(directory);
  expect(await next.unfinished()).toEqual([]);
  expect(await next.record('a', body('1'))).toBe('known');
  expect(readdirSync(join(directory, 'temporary'))).toEqual([]);
});

it('a file that cannot be written is an error of the system, and the command is not known', async () => {
  const directory = scratch();
  const journal = await reopen(directory);
  renameSync(join(directory, 'temporary'), join(directory, 'away'));
  await expect(journal.record('a', body('1'))).rejects.toMatchObject({
    code: 'SYSTEM',
    details: { errno: 'ENOENT' },
  });
  renameSync(join(directory, 'away'), join(directory, 'temporary'));
  expect(await journal.record('a', body('1'))).toBe('recorded');
  await expect(journal.begin('other')).rejects.toMatchObject({ code: 'INTERNAL' });
});

it('keeps the newest of what is set aside and of suspects, so many and so many bytes, and tells what went', async () => {
  const directory = scratch();
  const dropped: string[] = [];
  const options: FileCommandJournalOptions = {
    mostTries: 1,
    mostKept: { mostFiles: 2, mostBytes: 25 },
    onDropped: (folder, names) => dropped.push(...names.map(() => folder)),
  };
  const journal = await reopen(directory, options);
  const kept = (folder: string): string[] =>
    readdirSync(join(directory, folder))
      .map((name) => readFileSync(join(directory, folder, name), 'utf8'))
      .sort();
  for (const text of ['1', '2', '3']) expect(await journal.suspect(body(text))).toBe('set-aside');
  expect(kept('set-aside')).toEqual(['2', '3']);
  await journal.record('killer', body('x'.repeat(24)));
  await journal.begin('killer');
  expect(await journal.begin('killer')).toBe('spent');
  expect(await journal.begin('killer')).toBe('set-aside');
  expect(kept('set-aside')).toEqual(['3', 'x'.repeat(24)]);
  expect(dropped).toEqual(['set-aside', 'set-aside']);

  // As processes with a larger bound have left them.
  const large = await reopen(directory, { mostTries: 3 });
  for (const text of ['a', 'b', 'c']) expect(await large.suspect(body(text))).toBe('may-pass');
  const next = await reopen(directory, { ...options, mostTries: 3 });
  expect(kept('suspects')).toHaveLength(2);
  expect(dropped.at(-1)).toBe('suspects');
  expect(await next.suspect(body('d'))).toBe('may-pass');
  expect(kept('suspects')).toHaveLength(2);
  await next.clear(body('d'));
  await next.suspect(body('e'));
  // That made room, so nothing else goes.
  expect(kept('suspects')).toHaveLength(2);
  expect(kept('suspects')).toContain('e');
});
