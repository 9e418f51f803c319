// From results/*.json: the tables of docs/performance.md, an SVG chart for each scenario, and one page with all of it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { charts } from './chart.mjs';
import { page } from './page.mjs';
import { goalRows, resultRows, setting } from './table.mjs';

/** Where the committed results lie. */
export const RESULTS = fileURLToPath(new URL('../results/', import.meta.url));
const DOCUMENT = fileURLToPath(new URL('../../docs/performance.md', import.meta.url));
const BEGIN = '<!-- results: written by benchmarks/report -->';
const END = '<!-- end of results -->';

function resultsIn(directory) {
  return readdirSync(directory)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => JSON.parse(readFileSync(join(directory, file), 'utf8')));
}

/** Charts and one page beside the results of a directory. */
export function writeReports(directory) {
  const all = resultsIn(directory);
  for (const { name, svg } of all.flatMap(charts)) writeFileSync(join(directory, `${name}.svg`), svg);
  writeFileSync(join(directory, 'report.html'), page(all));
}

/** The tables of docs/performance.md, from the committed results. */
export function writeDocument() {
  const all = resultsIn(RESULTS);
  const text = readFileSync(DOCUMENT, 'utf8');
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${DOCUMENT} has lost its markers`);
  const sections = [goals(all), ...all.map(section)].join('\n');
  writeFileSync(DOCUMENT, `${text.slice(0, begin)}${BEGIN}\n\n${sections}\n${text.slice(end)}`);
}

const table = ([head, ...rows]) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

function goals(all) {
  return `## Goals\n\n${table(goalRows(all))}\n`;
}

/** Without those that no operation took. */
const stepsOf = ({ steps }) =>
  Object.entries(steps ?? {})
    .filter(([, ms]) => ms !== null)
    .map(([step, ms]) => `${step} ${ms.toFixed(1)}`);

function section(result) {
  const notes = result.notes.map((note) => `- ${note}`).join('\n');
  const steps = result.rows
    .filter((row) => stepsOf(row).length > 0)
    .map((row) => `Steps of ${row.contender}, mean ms: ${stepsOf(row).join(', ')}.\n\n`);
  const pictures = charts(result)
    .map(({ name }) => `![${name}](../benchmarks/results/${name}.svg)`)
    .join('\n\n');
  return `## ${result.scenario}

${result.question}

${table(resultRows(result))}

${notes ? `${notes}\n\n` : ''}${steps.join('')}${pictures}

${setting(result)}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeReports(RESULTS);
  writeDocument();
}
