// Input from outside, checked once by a schema: parts that valibot lacks, and its issues as a person reads them.
import * as v from 'valibot';

/** Of one value: where it is, and what it should have been. The value is not repeated, it may be a secret. */
export interface Problem {
  readonly path: readonly (string | number)[];
  readonly message: string;
}

/** Valibot takes an array for an object. */
const anObject = v.custom<object>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'must be an object',
);

const aDictionary = v.custom<object>((value) => {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}, 'must be an object with names and values');

/** Keys that valibot would leave out of the value without a word, for fear of the prototype. */
function refused(...keys: readonly string[]): v.CheckAction<object, string> {
  const message = `must not have the keys ${keys.join(', ')}`;
  return v.check((value) => !keys.some((key) => Object.hasOwn(value, key)), message);
}

type Closed<T extends v.ObjectEntries> = v.StrictObjectSchema<T, undefined>;

/** An option of `v.variant` that refuses each key it does not know; `v.strictObject` tells of the first only. */
export function closedEntries<T extends v.ObjectEntries>(entries: T): Closed<T> {
  return v.objectWithRest(entries, v.never('is not known here'), ({ path }) => {
    const expects = entries[String(path?.[0].key)]?.expects ?? 'unknown';
    return expects === 'unknown' ? 'is missing' : `is missing, must be ${words(expects)}`;
  }) as unknown as Closed<T>;
}

/** Of the schema of an object: nothing passes that it would leave out without a word. */
export function closed<T>(schema: v.GenericSchema<object, T>): v.GenericSchema<unknown, T> {
  return v.pipe(anObject, refused('constructor', 'prototype', '__proto__'), schema);
}

/** An object that refuses each key it does not know. */
export function closedObject<T extends v.ObjectEntries>(
  entries: T,
): v.GenericSchema<unknown, v.InferOutput<Closed<T>>> {
  return closed(closedEntries(entries));
}

/** Names and values, in a plain object. */
export function dictionary<T>(
  name: v.GenericSchema<string>,
  value: v.GenericSchema<unknown, T>,
): v.GenericSchema<unknown, Record<string, T>> {
  return v.pipe(aDictionary, refused('constructor', 'prototype'), v.record(name, value));
}

/** Safe integers only: beyond them a number is not the one that was written. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER): v.GenericSchema<number> {
  return v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max));
}

/** The value as its schema makes it, or everything that is wrong with it. */
export function check<T>(
  schema: v.GenericSchema<unknown, T>,
  input: unknown,
): { readonly value: T; readonly problems?: undefined } | { readonly problems: readonly Problem[] } {
  const result = v.safeParse(schema, input, { message: describe });
  return result.success ? { value: result.output } : { problems: result.issues.map(problem) };
}

function problem({ kind, path: items, message }: v.BaseIssue<unknown>): Problem {
  const path = items ?? [];
  // A key's own type is always right: an issue of a schema at a key is that of a missing one.
  const ofName = kind === 'validation' && path.at(-1)?.origin === 'key';
  return {
    path: path.map(({ key }) => (typeof key === 'number' ? key : String(key).slice(0, 255))),
    message: ofName ? `its name ${message}` : message,
  };
}

/** Instead of valibot's messages, which repeat the value. */
function describe({ type, expected, requirement, input }: v.BaseIssue<unknown>): string {
  switch (type) {
    case 'min_length':
      return requirement === 1 ? 'must not be empty' : `must have at least ${requirement} ${units(input)}`;
    case 'max_length':
      return `must have at most ${requirement} ${units(input)}`;
    case 'min_value':
      return `must be at least ${requirement}`;
    case 'max_value':
      return `must be at most ${requirement}`;
    case 'safe_integer':
      return 'must be a whole number';
    case 'finite':
      return 'must be a finite number';
    default:
      return `must be ${words(expected ?? 'different')}`;
  }
}

function units(input: unknown): string {
  return typeof input === 'string' ? 'characters' : 'items';
}

const WORDS: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  boolean: 'a boolean',
  Array: 'an array',
  Object: 'an object',
};

/** `("raw" | "qcow2")` reads as: one of "raw", "qcow2". */
function words(expected: string): string {
  if (expected.startsWith('(')) return `one of ${expected.slice(1, -1).replaceAll(' | ', ', ')}`;
  return WORDS[expected] ?? expected;
}
