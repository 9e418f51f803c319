// Names in the cache: a pure function of the image id, never of what the id says.
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  CachePaths,
  ephemeralKey,
  imageKey,
  keyOfTemporary,
  swapKey,
} from '../../../src/image/cache-paths.js';
import { describeSource } from '../../../src/image/image-source.js';

describe('names in the image cache', () => {
  it('names a base by the SHA-1 of the image id, as Nova does', () => {
    expect(imageKey('70a599e0-31e7-49b7-b260-868f441e862b')).toBe(
      createHash('sha1').update('70a599e0-31e7-49b7-b260-868f441e862b').digest('hex'),
    );
  });

  it('lets no id out of the directory', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 255 }), (id) => {
        expect(new CachePaths('/i').base(imageKey(id))).toMatch(/^\/i\/_base\/[0-9a-f]{40}$/);
      }),
    );
    expect(imageKey('../../etc/passwd')).toMatch(/^[0-9a-f]{40}$/);
  });

  it('refuses an empty id and one of more than 255 characters', () => {
    for (const id of ['', 'x'.repeat(256)]) {
      expect(() => imageKey(id)).toThrowError(expect.objectContaining({ code: 'INVALID_ARGUMENT' }));
    }
  });

  it('finds the key of its own temporary files and of no others', () => {
    const paths = new CachePaths('/i');
    for (const key of [imageKey('a'), ephemeralKey(20, 'mkfs'), swapKey(512)]) {
      const name = paths.temporary(key, 'download').split('/').at(-1) ?? '';
      expect(keyOfTemporary(name)).toBe(key);
      expect(paths.temporary(key, 'download')).not.toBe(paths.temporary(key, 'download'));
      for (const foreign of ['', 'x', key, `${key}.json`, `x${name}`, `${name}.x`, '..']) {
        expect(keyOfTemporary(foreign)).toBeUndefined();
      }
    }
  });

  it('names a base of ephemeral disks by its size and by the command that makes it', () => {
    expect(ephemeralKey(20, 'mkfs')).toMatch(/^ephemeral_20_[0-9a-f]{7}$/);
    expect(ephemeralKey(20, 'mkfs')).not.toBe(ephemeralKey(20, 'mkfs -x'));
    expect(swapKey(512)).toBe('swap_512');
  });
});

describe('description of a source', () => {
  it('holds no user, password, query or fragment', () => {
    const url = 'https://user:secret@host:8443/v2/images/1/file?token=secret#secret';
    expect(describeSource({ type: 'http', url })).toBe('https://host:8443/v2/images/1/file');
    expect(describeSource({ type: 'http', url: 'no url' })).not.toContain('no url');
    expect(describeSource({ type: 'glance', imageId: 'a' })).toBe('Glance, a');
  });
});
