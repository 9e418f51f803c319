// The XML writer: what it escapes, what it refuses, and that every string comes back as it went in.

import fc from 'fast-check';
import { XMLParser } from 'fast-xml-parser';
import { expect, it } from 'vitest';
import { element, serialize, textElement } from '../../../src/libvirt/xml/element.js';
import { expectRefusal } from './support.js';

const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: '',
  trimValues: false,
  parseTagValue: false,
  parseAttributeValue: false,
  htmlEntities: true,
  processEntities: { enabled: true, maxTotalExpansions: 1_000_000, maxExpandedLength: 10_000_000 },
});

/** Of XML 1.0: Char ::= #x9 | #xA | #xD | [#x20-#xD7FF] | [#xE000-#xFFFD] | [#x10000-#x10FFFF]. */
function writable(text: string): boolean {
  return [...text].every((character) => {
    const code = character.codePointAt(0) ?? 0;
    return (
      code === 9 ||
      code === 10 ||
      code === 13 ||
      (code >= 0x20 && code <= 0xd7ff) ||
      (code >= 0xe000 && code <= 0xfffd) ||
      code >= 0x10000
    );
  });
}

const anyString = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.string({ unit: 'binary' }),
  fc.array(fc.integer({ min: 0, max: 0xffff })).map((units) => String.fromCharCode(...units)),
  fc
    .array(fc.constantFrom('&', '<', '>', '"', "'", ']]>', '\t', '\n', '\r', ' ', '&amp;', '&#0;', '<!--'))
    .map((all) => all.join('')),
);

it('writes every string so that a parser gives it back, or refuses it', () => {
  fc.assert(
    fc.property(anyString, anyString, (attribute, text) => {
      const write = (): string => serialize(element('a', { b: attribute }, [textElement('c', text)]));
      if (!writable(attribute) || !writable(text)) {
        expectRefusal(write, 'INVALID_ARGUMENT', "the domain's a/");
        return;
      }
      const parsed: unknown = parser.parse(write());
      expect(parsed).toMatchObject({ a: { b: attribute, c: text } });
    }),
    { numRuns: 2000 },
  );
});

it.each(['\0', '\b', '\u001f', '\ud800', 'a\udc00b', '\ufffe', '\uffff'])(
  'refuses %j and names the field',
  (text) => {
    const inText = (): string =>
      serialize(element('domain', {}, [element('os', {}, [textElement('nvram', text)])]));
    expectRefusal(inText, 'INVALID_ARGUMENT', 'domain/os/nvram', 'U+');
    expectRefusal(() => serialize(element('disk', { file: text })), 'INVALID_ARGUMENT', 'disk/@file');
  },
);

it('refuses numbers that are not whole', () => {
  for (const value of [Number.NaN, 0.5, Number.POSITIVE_INFINITY, 2 ** 60]) {
    expectRefusal(() => serialize(textElement('memory', value)), 'INVALID_ARGUMENT', 'memory');
  }
  expect(serialize(textElement('memory', 2n ** 60n))).toBe('<memory>1152921504606846976</memory>\n');
});

it('leaves out what is undefined and indents by two spaces', () => {
  const child = element('c', { d: undefined, e: 1 });
  expect(serialize(element('a', {}, [undefined, element('b', {}, [child])]))).toBe(
    "<a>\n  <b>\n    <c e='1'/>\n  </b>\n</a>\n",
  );
});

it('takes names from the source only', () => {
  const name: string = ['<'].join('');
  // @ts-expect-error a name must be a literal
  const made = element(name);
  expectRefusal(() => serialize(made), 'INTERNAL', 'XML name');
});
