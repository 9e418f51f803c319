// Horizontal bars: medians with their spread, and the steps of a launch as a waterfall.
import { linear } from './scale.mjs';
import { isOwn, OTHER_COLOUR, OWN_COLOUR } from './style.mjs';
import { element, FAINT, GRID, INK, line, picture, TOP, text, WIDTH, widthOf } from './svg.mjs';

const STEP = 28;
const BAR = 18;

const colourOf = (contender) => (isOwn(contender) ? OWN_COLOUR : OTHER_COLOUR);

/** Medians, with whiskers from the minimum to the 95th percentile; a panel, with a scale of its own, for each measure. */
export function bars({ scenario, unit, digits, rows }) {
  const measures = [...new Set(rows.map((row) => row.measure))];
  const panels = measures.map((measured) => ({
    heading: measures.length > 1 ? measured : '',
    bars: rows
      .filter((row) => row.measure === measured)
      .map((row) => ({
        label: row.contender,
        bold: isOwn(row.contender),
        fill: colourOf(row.contender),
        from: 0,
        to: row.median,
        whisker: [row.min, row.p95],
        value: `${row.median.toFixed(digits)} ${unit}`,
      })),
  }));
  return barChart(`${scenario}: median, with minimum to 95th percentile`, unit, panels);
}

/** The steps of each contender, as means: each bar begins where the one above it ended. */
export function waterfall({ scenario, unit, rows }) {
  const panels = rows.map(({ contender, steps }) => {
    const total = Object.values(steps).reduce((sum, ms) => sum + ms, 0);
    let begin = 0;
    const stairs = Object.entries(steps).map(([label, ms]) => {
      const from = begin;
      begin += ms;
      const share = `${((ms / total) * 100).toFixed(0)} %`;
      return {
        label,
        fill: colourOf(contender),
        from,
        to: begin,
        value: `${ms.toFixed(1)} ${unit}, ${share}`,
      };
    });
    return { heading: `${contender}: ${total.toFixed(1)} ${unit}`, bars: stairs };
  });
  const most = Math.max(...panels.flatMap((panel) => panel.bars.map(({ to }) => to)));
  return barChart(`${scenario}: mean of each step`, unit, panels, most);
}

/** `most` is the end of the scale that the panels share; without it each has its own. */
function barChart(title, unit, panels, most) {
  const all = panels.flatMap((panel) => panel.bars);
  const left = 24 + Math.max(...all.map(({ label, bold }) => widthOf(label) * (bold ? 1.1 : 1)));
  const right = WIDTH - 24 - Math.max(...all.map(({ value }) => widthOf(value)));
  let y = TOP;
  const marks = panels.map(({ heading, bars: rows }) => {
    if (heading) y += 22;
    const head = heading ? text(left, y - 10, heading, { 'font-weight': 'bold' }) : '';
    const bottom = y + rows.length * STEP;
    const ends = rows.flatMap(({ to, whisker = [] }) => [to, ...whisker]);
    // A difference of two sizes may be below zero.
    const { at, ticks } = linear([Math.min(0, ...ends), most ?? Math.max(...ends)], [left, right]);
    const axis = ticks.map((tick) => [
      line(at(tick), y - 4, at(tick), bottom, { stroke: tick === 0 ? FAINT : GRID }),
      text(at(tick), bottom + 15, tick === 0 ? `0 ${unit}` : tick, {
        'text-anchor': 'middle',
        'font-size': 11,
        fill: FAINT,
      }),
    ]);
    const lines = rows.map((row, index) => bar(row, y + index * STEP, at, left));
    y = bottom + 34;
    return [head, axis, lines];
  });
  return picture(title, y - 8, marks);
}

function bar({ label, bold, fill, from, to, whisker, value }, y, at, left) {
  const middle = y + BAR / 2;
  const [begin, width] = [at(Math.min(from, to)), Math.abs(at(to) - at(from))];
  const end = at(Math.max(from, to, whisker?.[1] ?? to));
  const caps = whisker?.map((edge) => line(at(edge), middle - 4, at(edge), middle + 4, { stroke: INK }));
  return [
    text(left - 8, middle + 4.5, label, { 'text-anchor': 'end', 'font-weight': bold ? 'bold' : undefined }),
    // What is too short to be seen is still there.
    element('rect', { x: begin, y, width: Math.max(width, 1), height: BAR, fill }),
    whisker ? [line(at(whisker[0]), middle, at(whisker[1]), middle, { stroke: INK }), caps] : [],
    text(end + 7, middle + 4.5, value),
  ];
}
