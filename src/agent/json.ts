// JSON of the wire: within limits before it is parsed, and integers beyond 2^53 keep their digits, as bigint.
import { randomUUID } from 'node:crypto';
import { unacceptable } from './errors.js';

export interface JsonLimits {
  /** Bytes of a message. Default 16 MiB: RabbitMQ itself takes 128 MiB and more. */
  readonly mostBytes: number;
  /** Arrays and objects in each other. Default 64; Nova's messages have about 20. */
  readonly mostDepth: number;
  /** Values and keys in all. Default 500000; a launch has about 1000. */
  readonly mostValues: number;
}

/** Of answers: the conductor sends the instances of a whole host in one. */
export const DEFAULT_LIMITS: JsonLimits = {
  mostBytes: 16 * 1024 * 1024,
  mostDepth: 64,
  mostValues: 500_000,
};

/**
 * Of requests, which anybody sends who may write to the queue. The largest is a build: with all that Nova's quotas allow,
 * 64 KiB of user data, five files of 10 KiB and 128 items of metadata in several copies, it has some 400 KiB.
 */
export const REQUEST_LIMITS: JsonLimits = {
  mostBytes: 1024 * 1024,
  mostDepth: 64,
  mostValues: 50_000,
};

/** What C knows as int64_t and uint64_t. */
const LEAST_INTEGER = -(2n ** 63n);
const LARGEST_INTEGER = 2n ** 64n - 1n;
/** Of {@link LEAST_INTEGER} and {@link LARGEST_INTEGER}: BigInt takes longer for each further digit. */
const MOST_DIGITS = 20;

/** Stands before the digits of a bigint inside a string: unknown to who writes messages, so nobody can forge it. */
const MARK = `${randomUUID()}:`;
const MARKED = new RegExp(`"${MARK}(-?\\d+)"`, 'g');

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

type Span = readonly [start: number, end: number];

/**
 * Throws `MESSAGE_UNACCEPTABLE`: also, by the rule `number`, for an integer that is neither int64_t nor uint64_t, and for a
 * number that is not finite. An object's key `__proto__` is an own property like any other.
 */
export function parseJson(text: string, limits: JsonLimits): unknown {
  const integers = scan(text, limits);
  try {
    return integers.length === 0 ? JSON.parse(text) : JSON.parse(mark(text, integers), revive);
  } catch {
    throw unacceptable('json', 'it is not JSON');
  }
}

/** Throws `TypeError` for what JSON has no form for: cycles, and nothing else that a message holds. */
export function stringifyJson(value: unknown): string {
  let marked = false;
  const text = JSON.stringify(value, (_key, item: unknown) => {
    if (typeof item !== 'bigint') return item;
    marked = true;
    return `${MARK}${item}`;
  });
  return marked ? text.replaceAll(MARKED, '$1') : text;
}

/**
 * V8 needs hundreds of bytes for some two characters, and recursion over what it made may exhaust the stack: refuses that
 * beforehand. Gives where the integers stand that a number cannot hold.
 */
function scan(text: string, { mostDepth, mostValues }: JsonLimits): readonly Span[] {
  const integers: Span[] = [];
  let depth = 0;
  let values = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) {
      at = endOfString(text, at);
    } else if (code === 0x5b || code === 0x7b) {
      if (++depth > mostDepth) throw unacceptable('too-deep', `more than ${mostDepth} levels`);
      values++;
    } else if (code === 0x5d || code === 0x7d) {
      depth--;
    } else if (code === 0x2c || code === 0x3a) {
      values++;
    } else if (isOfNumber(code)) {
      const end = endOfNumber(text, at);
      if (isUnsafeInteger(text.slice(at, end))) integers.push([at, end]);
      at = end - 1;
    }
    if (values > mostValues) throw unacceptable('too-many-values', `more than ${mostValues} values`);
  }
  return integers;
}

function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === BACKSLASH) at++;
    else if (code === QUOTE) return at;
  }
  return text.length;
}

/** Digits, signs, the point, e and E. */
function isOfNumber(code: number): boolean {
  return (
    (code >= 0x30 && code <= 0x39) ||
    code === 0x2b ||
    code === 0x2d ||
    code === 0x2e ||
    code === 0x45 ||
    code === 0x65
  );
}

function endOfNumber(text: string, start: number): number {
  let end = start + 1;
  while (end < text.length && isOfNumber(text.charCodeAt(end))) end++;
  return end;
}

/** Throws `MESSAGE_UNACCEPTABLE` for what neither a number nor a bigint of 64 bits is. */
function isUnsafeInteger(token: string): boolean {
  // The shortest that is not finite is `2e308`.
  if (token.length < 5) return false;
  const value = Number(token);
  if (Math.abs(value) === Infinity) throw unacceptable('number', 'a number that is not finite');
  if (!/^-?[1-9]\d*$/.test(token) || Number.isSafeInteger(value)) return false;
  if (token.length > MOST_DIGITS + 1 || !isOf64Bits(BigInt(token)))
    throw unacceptable('number', 'an integer of more than 64 bits');
  return true;
}

function isOf64Bits(value: bigint): boolean {
  return value >= LEAST_INTEGER && value <= LARGEST_INTEGER;
}

function mark(text: string, integers: readonly Span[]): string {
  let marked = '';
  let from = 0;
  for (const [start, end] of integers) {
    marked += `${text.slice(from, start)}"${MARK}${text.slice(start, end)}"`;
    from = end;
  }
  return marked + text.slice(from);
}

function revive(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith(MARK) ? BigInt(value.slice(MARK.length)) : value;
}
