// From results/*.json: the tables in docs/performance.md and an SVG chart for each scenario.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const results = new URL('results/', import.meta.url);
const page = new URL('../docs/performance.md', import.meta.url);
const BEGIN = '<!-- results: written by benchmarks/report.mjs -->';
const END = '<!-- end of results -->';

export function writeReports() {
  const all = readdirSync(results)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(new URL(file, results), 'utf8')));
  for (const result of all) writeFileSync(new URL(`${result.scenario}.svg`, results), chart(result));
  const text = readFileSync(page, 'utf8');
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`${fileURLToPath(page)} has lost its markers`);
  writeFileSync(
    page,
    `${text.slice(0, begin)}${BEGIN}\n\n${all.map(section).join('\n')}\n${text.slice(end)}`,
  );
}

function section(result) {
  const { machine, unit } = result;
  const rows = result.contenders.map(
    ({ name, median, p95, min, ratio, n, cpuSecondsPerLaunch, peakRssMib }) =>
      [
        name,
        median.toFixed(1),
        p95.toFixed(1),
        min.toFixed(1),
        `${ratio.median.toFixed(2)} (${ratio.min.toFixed(2)}-${ratio.max.toFixed(2)})`,
        n,
        (cpuSecondsPerLaunch * 1000).toFixed(0),
        peakRssMib.toFixed(0),
      ].join(' | '),
  );
  const own = result.contenders.find(({ steps }) => steps);
  const steps = own && Object.entries(own.steps).map(([step, ms]) => `${step} ${ms.toFixed(1)}`);
  return `## ${result.scenario}

${result.question}.

| contender | median ${unit} | p95 | min | ratio to ${result.base} (spread over rounds) | n | CPU ms per launch | peak RSS MiB |
|---|---|---|---|---|---|---|---|
${rows.map((row) => `| ${row} |`).join('\n')}

${steps ? `Steps of ${own.name}, median ${unit}: ${steps.join(', ')}. Event loop delay p99: ${own.eventLoopDelayP99Ms.toFixed(1)} ms.\n` : ''}
CPU time and RSS are those of the launching process (Node.js start included), without QEMU's.

![${result.scenario}](../benchmarks/results/${result.scenario}.svg)

${machine.cpu}, ${machine.cores} cores, ${machine.distribution}, kernel ${machine.kernel}; ${machine.qemu}; libvirt ${machine.libvirt};
Node.js ${machine.node}; commit ${machine.commit}; ${machine.date.slice(0, 10)}; load ${result.loadBefore.toFixed(1)}${result.loadAfter === undefined ? '' : ` to ${result.loadAfter.toFixed(1)}`}${result.loaded ? ' (**the machine was loaded**)' : ''}.
`;
}

/** Bars of the medians with whiskers from the minimum to the 95th percentile. */
function chart({ scenario, unit, contenders }) {
  const width = 760;
  const left = 250;
  const line = 34;
  const most = Math.max(...contenders.map(({ p95 }) => p95)) * 1.1;
  const x = (value) => left + (value / most) * (width - left - 90);
  const bars = contenders.map(({ name, median, min, p95 }, index) => {
    const y = 44 + index * line;
    const middle = y + 10;
    return `<text x="${left - 8}" y="${y + 14}" text-anchor="end">${name}</text>
<rect x="${left}" y="${y}" width="${(x(median) - left).toFixed(1)}" height="20" fill="${index === 0 ? '#9aa5b1' : '#3e7cb1'}"/>
<path d="M${x(min).toFixed(1)} ${middle}H${x(p95).toFixed(1)}" stroke="#1f2933"/>
<text x="${(x(p95) + 6).toFixed(1)}" y="${y + 14}">${median.toFixed(1)} ${unit}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${60 + contenders.length * line}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
<text x="12" y="24" font-size="15">${scenario}: median, minimum to 95th percentile</text>
${bars.join('\n')}
</svg>
`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeReports();
