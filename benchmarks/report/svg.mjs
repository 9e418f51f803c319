// SVG as text, with what all charts have in common. An installed package draws too, so nothing beside Node.js is needed.

export const WIDTH = 860;
export const INK = '#1f2933';
export const FAINT = '#616e7c';
export const GRID = '#e4e7eb';
const SIZE = 13;
/** The widest that a character of usual words gets in any usual sans serif, in parts of the font's size. */
const ADVANCE = 0.6;

export const escapeXml = (text) =>
  String(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');

/** `attributes` that are undefined are left out; numbers get one decimal. */
export function element(name, attributes, content = '') {
  const words = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}="${typeof value === 'number' ? tenths(value) : escapeXml(value)}"`);
  return `<${name}${words.join('')}${content === '' ? '/>' : `>${content}</${name}>`}`;
}

/** One decimal is finer than any screen. */
export const tenths = (value) => String(Math.round(value * 10) / 10);

export const text = (x, y, words, attributes = {}) =>
  element('text', { x, y, ...attributes }, escapeXml(words));

export const line = (x1, y1, x2, y2, attributes) => element('line', { x1, y1, x2, y2, ...attributes });

/** Room that words need at most. */
export const widthOf = (words, size = SIZE) => words.length * size * ADVANCE;

/** Top of what a picture shows below its title. */
export const TOP = 52;

export function picture(title, height, marks) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${tenths(height)}" width="${WIDTH}" height="${tenths(height)}" role="img" aria-label="${escapeXml(title)}" font-family="sans-serif" font-size="${SIZE}" fill="${INK}">
<rect width="100%" height="100%" fill="white"/>
${text(16, 28, title, { 'font-size': 15, 'font-weight': 'bold' })}
${marks.flat(Number.POSITIVE_INFINITY).join('\n')}
</svg>
`;
}
