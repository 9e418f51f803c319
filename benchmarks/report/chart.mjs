// A chart of a result as SVG.

const WIDTH = 760;
const LEFT = 260;
const OWN = '#3e7cb1';
const OTHER = '#9aa5b1';

const xml = (text) =>
  String(text)
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');

const colour = (contender) => (contender.startsWith('node-compute') ? OWN : OTHER);

export function chart(result) {
  return ({ throughput, waterfall }[result.chart] ?? bars)(result);
}

/** Medians, with whiskers from the minimum to the 95th percentile. */
function bars({ scenario, unit, digits, rows }) {
  const several = new Set(rows.map((row) => row.measure)).size > 1;
  return picture(
    `${scenario}: median, minimum to 95th percentile`,
    rows.map((row) => ({
      label: several ? `${row.contender}: ${row.measure}` : row.contender,
      fill: colour(row.contender),
      value: row.median,
      from: row.min,
      to: row.p95,
      text: `${row.median.toFixed(digits)} ${unit}`,
    })),
  );
}

/** Operations a second, over the number under way at once. */
function throughput({ scenario, rows }) {
  return picture(
    `${scenario}: launches a second`,
    rows.map(({ contender, perSecond, median, unit = 'ms' }) => ({
      label: contender,
      fill: colour(contender),
      value: perSecond,
      text: `${perSecond.toFixed(1)}/s, median latency ${median.toFixed(0)} ${unit}`,
    })),
  );
}

/** The steps of each contender one after the other, as means: each bar begins where the one above it ended. */
function waterfall({ scenario, unit, rows }) {
  return picture(
    `${scenario}: mean of each step`,
    rows.flatMap(({ contender, steps }) => {
      const total = Object.values(steps).reduce((sum, ms) => sum + ms, 0);
      let begin = 0;
      const lines = Object.entries(steps).map(([step, ms]) => {
        const line = {
          label: step,
          fill: colour(contender),
          begin,
          value: begin + ms,
          text: `${ms.toFixed(1)} ${unit}`,
        };
        begin += ms;
        return line;
      });
      return [
        { label: contender, fill: '#d6dde4', value: total, text: `${total.toFixed(1)} ${unit}` },
        ...lines,
      ];
    }),
  );
}

function picture(title, lines) {
  const step = 34;
  const most = Math.max(...lines.map(({ value, to }) => to ?? value)) * 1.02;
  const x = (value) => LEFT + (value / most) * (WIDTH - LEFT - 210);
  const marks = lines.map(({ label, fill, begin = 0, value, from, to, text }, index) => {
    const y = 44 + index * step;
    const whisker =
      to === undefined
        ? ''
        : `<path d="M${x(from).toFixed(1)} ${y + 10}H${x(to).toFixed(1)}" stroke="#1f2933"/>`;
    return `<text x="${LEFT - 8}" y="${y + 14}" text-anchor="end">${xml(label)}</text>
<rect x="${x(begin).toFixed(1)}" y="${y}" width="${(x(value) - x(begin)).toFixed(1)}" height="20" fill="${fill}"/>
${whisker}<text x="${(x(to ?? value) + 6).toFixed(1)}" y="${y + 14}">${xml(text)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${60 + lines.length * step}" font-family="sans-serif" font-size="13">
<rect width="100%" height="100%" fill="white"/>
<text x="12" y="24" font-size="15">${xml(title)}</text>
${marks.join('\n')}
</svg>
`;
}
