// What the ISO 9660 writer makes, by the word of readers that others wrote.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ISO_MAX_BYTES, isoImage } from '../../../src/config-drive/iso9660.js';
import type { IsoFile } from '../../../src/config-drive/iso9660-tree.js';
import { ComputeError } from '../../../src/index.js';
import { filesOfIso, labelOfIso, noReader } from './read-iso.js';

const TIME = new Date('2026-01-31T12:34:56Z');
const text = (value: string): Buffer => Buffer.from(value);
const FILES: readonly IsoFile[] = [
  { path: 'openstack/latest/meta_data.json', data: text('{}') },
  { path: 'openstack/latest/user_data', data: Buffer.alloc(5000, 'u') },
  { path: 'openstack/content/0000', data: text('') },
  { path: 'meta-data', data: Buffer.alloc(2048, 1) },
];

const byPath = (files: readonly IsoFile[]): Map<string, Buffer> =>
  new Map(files.map(({ path, data }) => [path, Buffer.from(data)]));

describe('an ISO 9660 image', () => {
  it.for(['rockridge', 'joliet'] as const)('keeps names and contents by %s', (names, { skip }) => {
    if (noReader !== undefined) skip(noReader);
    expect(filesOfIso(isoImage('config-2', FILES, TIME), names)).toEqual(byPath(FILES));
  });

  it('has plain names for who knows neither extension', ({ skip }) => {
    if (noReader !== undefined) skip(noReader);
    const files = ['user-data', 'user_data', 'a.b.json'].map((path) => ({ path, data: text(path) }));
    expect(filesOfIso(isoImage('x', files, TIME), 'plain')).toEqual(
      new Map([
        ['USER_DATA', text('user-data')],
        ['USER_DATA1', text('user_data')],
        ['A_B.JSON', text('a.b.json')],
      ]),
    );
  });

  it('has the label', () => {
    expect(labelOfIso(isoImage('config-2', FILES, TIME))).toBe('config-2');
    expect(labelOfIso(isoImage('cidata', [], TIME))).toBe('cidata');
  });

  it('is the same for the same files, and holds the same contents once', () => {
    const data = Buffer.alloc(64 * 2048, 'x');
    const files = Array.from({ length: 10 }, (_, index) => ({ path: `${index}/user_data`, data }));
    const image = isoImage('config-2', files, TIME);
    expect(isoImage('config-2', files, TIME)).toEqual(image);
    expect(image.length).toBeLessThan(2 * data.length);
  });

  it('gives a file and a directory different plain names, though only a sign tells them apart', ({
    skip,
  }) => {
    if (noReader !== undefined) skip(noReader);
    const files = ['a+/x', 'a-', 'b-', 'b+/y'].map((path) => ({ path, data: Buffer.from(path) }));
    const found = filesOfIso(isoImage('config-2', files, TIME), 'plain');
    expect([...found.values()].map(String).sort()).toEqual(['a+/x', 'a-', 'b+/y', 'b-']);
  });

  it('round trips whatever names and contents, over many blocks of records', ({ skip }) => {
    if (noReader !== undefined) skip(noReader);
    const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._+-]{0,61}$/);
    const path = fc.oneof(
      // Apart from each other, and side by side in a few directories.
      fc.array(name, { minLength: 1, maxLength: 7 }).map((names) => ['x', ...names].join('/')),
      fc.tuple(fc.constantFrom('', 'd/', 'd/e/', 'd/e/d/'), name).map(([at, one]) => `${at}f${one.slice(1)}`),
    );
    const contents = fc.uint8Array({ maxLength: 5000 });
    const some = fc.uniqueArray(fc.record({ path, data: contents }), {
      maxLength: 120,
      // Joliet and bsdtar's target know no difference that is one of case alone.
      selector: ({ path }) => path.toLowerCase().replace(/^(x\/[^/]*).*/, '$1'),
    });
    fc.assert(
      fc.property(some, (files) => {
        const image = isoImage('config-2', files, TIME);
        expect(filesOfIso(image, 'rockridge')).toEqual(byPath(files));
        expect(filesOfIso(image, 'joliet')).toEqual(byPath(files));
        expect([...filesOfIso(image, 'plain').values()].map(String).sort()).toEqual(
          files.map(({ data }) => Buffer.from(data).toString()).sort(),
        );
      }),
      { numRuns: 15 },
    );
  }, 60_000);
});

describe('what cannot be in an ISO 9660 image', () => {
  const refused = (files: readonly IsoFile[], label = 'config-2'): string => {
    try {
      isoImage(label, files, TIME);
    } catch (error) {
      if (!ComputeError.is(error)) throw error;
      expect(error.code).toBe('INVALID_ARGUMENT');
      return error.message;
    }
    throw new Error('the image was made');
  };

  it.each([
    '',
    '/a',
    'a/',
    'a//b',
    '../a',
    '.',
    'a/..',
    'a\0',
    'a b',
    'ä',
    'a;1',
    '-a',
    'x'.repeat(63),
    'a/b/c/d/e/f/g/h/i',
  ])('is a file named %j', (path) => {
    expect(refused([{ path, data: text('') }])).toContain('cannot have a file named');
  });

  it('is one path twice, or a file where a directory is', () => {
    const data = text('');
    expect(
      refused([
        { path: 'a', data },
        { path: 'a', data },
      ]),
    ).toContain('has a twice');
    expect(
      refused([
        { path: 'a', data },
        { path: 'a/b', data },
      ]),
    ).toContain('has a file where a/b needs');
    expect(
      refused([
        { path: 'a/b', data },
        { path: 'a', data },
      ]),
    ).toContain('has a twice');
  });

  it.each(['', 'a'.repeat(17), 'a b', 'ä', '\0'])('is the label %j', (label) => {
    expect(refused([], label)).toContain('label');
  });

  it('is more than the limit', () => {
    expect(refused([{ path: 'a', data: Buffer.alloc(ISO_MAX_BYTES) }])).toContain(' 4 MiB');
    const many = Array.from({ length: 1025 }, (_, index) => ({ path: `${index}`, data: text('') }));
    expect(refused(many)).toContain('more than 1024');
  });
});
