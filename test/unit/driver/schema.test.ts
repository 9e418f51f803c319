import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { check, closedObject, dictionary, integer } from '../../../src/driver/schema.js';

const disk = closedObject({
  format: v.picklist(['raw', 'qcow2']),
  sizeGb: integer(1, 10),
  label: v.optional(v.pipe(v.string(), v.minLength(1), v.maxLength(3))),
  tags: v.optional(dictionary(v.pipe(v.string(), v.maxLength(3)), v.string()), {}),
});

const said = (input: unknown): readonly string[] =>
  (check(disk, input).problems ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);

describe('input that a schema refuses', () => {
  it('has every problem told, each at its own path', () => {
    expect(said({ sizeGb: 0, label: 'long', one: 1, two: 2 })).toEqual([
      'format: is missing, must be one of "raw", "qcow2"',
      'sizeGb: must be at least 1',
      'label: must have at most 3 characters',
      'one: is not known here',
      'two: is not known here',
    ]);
    expect(said({ format: 'raw', sizeGb: 1, tags: { long: '', a: 1 } })).toEqual([
      'tags.long: its name must have at most 3 characters',
      'tags.a: must be a string',
    ]);
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, 1.5, 2 ** 53, '1', 1n, null])(
    'is no integer: %s',
    (sizeGb) => {
      expect(said({ format: 'raw', sizeGb })[0]).toMatch(/^sizeGb: must be a (whole )?number$/);
    },
  );

  it.each([[[]], [null], ['text'], [() => 1]])('is no object: %s', (input) => {
    expect(said(input)).toEqual([': must be an object']);
  });

  it.each([[[]], [new Map()], [new Date()]])('is no dictionary: %s', (tags) => {
    expect(said({ format: 'raw', sizeGb: 1, tags })).toEqual([
      'tags: must be an object with names and values',
    ]);
  });

  it('has a key that valibot would leave out', () => {
    for (const key of ['constructor', 'prototype', '__proto__']) {
      const input: unknown = JSON.parse(`{"format":"raw","sizeGb":1,"${key}":{}}`);
      expect(said(input)).toEqual([': must not have the keys constructor, prototype, __proto__']);
    }
    expect(said({ format: 'raw', sizeGb: 1, tags: { constructor: '' } })).toHaveLength(1);
  });
});

it('gives the value with its defaults', () => {
  expect(check(disk, { format: 'raw', sizeGb: 1 })).toEqual({
    value: { format: 'raw', sizeGb: 1, tags: {} },
  });
});
