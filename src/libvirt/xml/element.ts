// A tiny typed XML writer: elements are values, every string in them is escaped or refused when they are written.
import { ComputeError } from '../../driver/errors.js';

export type XmlValue = string | number | bigint;
export type XmlAttributes = Readonly<Record<string, XmlValue | undefined>>;

/** One element: it holds text or children, never both. Made by {@link element} and {@link textElement} only. */
export interface XmlElement {
  readonly name: string;
  readonly attributes: XmlAttributes;
  readonly text: XmlValue | undefined;
  readonly children: readonly XmlElement[];
}

/** Refuses at compile time a name that is not written out in the source: names never come from outside. */
export type LiteralName<N extends string> = string extends N ? never : N;

/** Attributes and children that are undefined are left out. */
export function element<N extends string>(
  name: LiteralName<N>,
  attributes: XmlAttributes = {},
  children: readonly (XmlElement | undefined)[] = [],
): XmlElement {
  return { name, attributes, text: undefined, children: children.filter((child) => child !== undefined) };
}

/** An element that holds a value. */
export function textElement<N extends string>(
  name: LiteralName<N>,
  text: XmlValue,
  attributes: XmlAttributes = {},
): XmlElement {
  return { name, attributes, text, children: [] };
}

const NAME = /^[A-Za-z_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.-]*)?$/;

/**
 * What XML 1.0 has no way to write: control characters other than tab, line feed and carriage return, the halves of a
 * surrogate pair on their own, U+FFFE and U+FFFF.
 */
const UNWRITABLE = /[^\t\n\r\u0020-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/u;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
  '\t': '&#9;',
  '\n': '&#10;',
  '\r': '&#13;',
};

/**
 * The document, two spaces a level, the same bytes for the same elements.
 * Throws `INVALID_ARGUMENT` with the path of the field where a value holds a character that XML 1.0 can't.
 */
export function serialize(root: XmlElement): string {
  const lines: string[] = [];
  write(root, '', root.name, lines);
  return `${lines.join('\n')}\n`;
}

function write(node: XmlElement, indent: string, path: string, lines: string[]): void {
  checkName(node.name);
  let open = `${indent}<${node.name}`;
  for (const [name, value] of Object.entries(node.attributes)) {
    if (value === undefined) continue;
    checkName(name);
    open += ` ${name}='${escapeValue(value, `${path}/@${name}`)}'`;
  }
  if (node.text !== undefined) {
    lines.push(`${open}>${escapeValue(node.text, path)}</${node.name}>`);
  } else if (node.children.length === 0) {
    lines.push(`${open}/>`);
  } else {
    lines.push(`${open}>`);
    for (const child of node.children) write(child, `${indent}  `, `${path}/${child.name}`, lines);
    lines.push(`${indent}</${node.name}>`);
  }
}

function checkName(name: string): void {
  if (!NAME.test(name)) throw new ComputeError('INTERNAL', `${JSON.stringify(name)} is no XML name`);
}

// Tab and line ends are written as references everywhere: a parser would turn them into spaces in an attribute, and a
// carriage return into a line feed in text.
function escapeValue(value: XmlValue, path: string): string {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value === 'number') {
    if (Number.isSafeInteger(value)) return value.toString();
    throw new ComputeError('INVALID_ARGUMENT', `the domain's ${path} must be a whole number, not ${value}`, {
      operation: 'domainXml',
      details: { field: path },
    });
  }
  const found = UNWRITABLE.exec(value);
  if (found) {
    const code = (found[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0');
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `the domain's ${path} holds U+${code} at index ${found.index}, which no XML document can hold; remove it`,
      { operation: 'domainXml', details: { field: path, codePoint: `U+${code}`, index: found.index } },
    );
  }
  return value.replace(/[&<>"'\t\n\r]/g, (character) => ESCAPES[character] ?? character);
}
