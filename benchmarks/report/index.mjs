// From results/*.json: the tables of docs/performance.md, an SVG chart for each scenario, and one page with all of it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chart } from './chart.mjs';
import { page } from './page.mjs';
import { goalRows, resultRows, setting } from './table.mjs';

const results = new URL('../results/', import.meta.url);
const document = new URL('../../docs/performance.md', import.meta.url);
const BEGIN = '<!-- results: written by benchmarks/report -->';
const END = '<!-- end of results -->';

export function writeReports() {
  const all = readdirSync(results)
    .filter((file) => file.endsWith('.json'))
    .sort()
    .map((file) => JSON.parse(readFileSync(new URL(file, results), 'utf8')));
  for (const result of all) writeFileSync(new URL(`${result.scenario}.svg`, results), chart(result));
  writeFileSync(new URL('report.html', results), page(all));
  const text = readFileSync(document, 'utf8');
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${fileURLToPath(document)} has lost its markers`);
  const sections = [goals(all), ...all.map(section)].join('\n');
  writeFileSync(document, `${text.slice(0, begin)}${BEGIN}\n\n${sections}\n${text.slice(end)}`);
}

const table = ([head, ...rows]) =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n');

function goals(all) {
  return `## Goals\n\n${table(goalRows(all))}\n`;
}

function section(result) {
  const notes = result.notes.map((note) => `- ${note}`).join('\n');
  const steps = result.rows
    .filter((row) => row.steps)
    .slice(0, 1)
    .map(
      ({ contender, steps: all }) =>
        `Steps of ${contender}, mean ms: ${Object.entries(all)
          .map(([step, ms]) => `${step} ${ms.toFixed(1)}`)
          .join(', ')}.\n\n`,
    );
  return `## ${result.scenario}

${result.question}

${table(resultRows(result))}

${notes ? `${notes}\n\n` : ''}${steps.join('')}![${result.scenario}](../benchmarks/results/${result.scenario}.svg)

${setting(result)}
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeReports();
