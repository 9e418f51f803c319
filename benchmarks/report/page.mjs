// All results as one HTML page that needs nothing beside it.
import { charts } from './chart.mjs';
import { goalRows, resultRows, setting } from './table.mjs';

const words = (text) =>
  text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll(/\*\*(.*?)\*\*/g, '<strong>$1</strong>');

function table([head, ...rows]) {
  const line = (row, cell) => `<tr>${row.map((text) => `<${cell}>${words(text)}</${cell}>`).join('')}</tr>`;
  return `<table><thead>${line(head, 'th')}</thead><tbody>${rows.map((row) => line(row, 'td')).join('\n')}</tbody></table>`;
}

export function page(results) {
  const sections = results.map(
    (result) => `<h2 id="${result.scenario}">${words(result.scenario)}</h2>
<p>${words(result.question)}</p>
${charts(result)
  .map(({ svg }) => svg)
  .join('\n')}
${table(resultRows(result))}
<ul>${result.notes.map((note) => `<li>${words(note)}</li>`).join('')}</ul>
<p class="setting">${words(setting(result))}</p>`,
  );
  const contents = results.map(
    ({ scenario, question }) => `<li><a href="#${scenario}">${words(scenario)}</a>: ${words(question)}</li>`,
  );
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><title>node-compute: benchmarks</title>
<style>
body { font: 15px/1.5 sans-serif; max-width: 70em; margin: 2em auto; padding: 0 1em; color: #1f2933 }
table { border-collapse: collapse; margin: 1em 0 } th, td { border: 1px solid #cbd2d9; padding: .25em .6em; text-align: right }
th:first-child, td:first-child { text-align: left } .goals td:nth-child(2) { text-align: left }
.goals td:last-child { background: #d9f0e3 } .goals td:empty { background: none } .goals td:has(strong) { background: #fbe3d3 }
nav ul { padding-left: 1.2em } .setting { color: #616e7c; font-size: 13px } svg { max-width: 100% }
</style>
<h1>node-compute: benchmarks</h1>
<h2>Goals</h2>
<div class="goals">${table(goalRows(results))}</div>
<nav><h2>Scenarios</h2><ul>${contents.join('\n')}</ul></nav>
${sections.join('\n')}
</html>
`;
}
