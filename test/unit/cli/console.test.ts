// What --follow prints: only what is new, whatever part of the log it saw before.
import { describe, expect, it } from 'vitest';
import { newBytes } from '../../../src/cli/commands/console.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

describe('a followed console', () => {
  it('prints what came behind what was seen', () => {
    expect(text(newBytes(bytes('abc'), bytes('abcdef')))).toBe('def');
    expect(text(newBytes(bytes('c'), bytes('abcdef')))).toBe('def');
    expect(text(newBytes(bytes('abc'), bytes('abc')))).toBe('');
  });

  it('prints everything where nothing was seen, or where the log began anew', () => {
    expect(text(newBytes(bytes(''), bytes('abc')))).toBe('abc');
    expect(text(newBytes(bytes('old'), bytes('new')))).toBe('new');
  });
});
