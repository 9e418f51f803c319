// The frame of a chart with lines: axes, grid, ticks, and the legend at its right.
import { element, FAINT, GRID, INK, line, text, WIDTH, widthOf } from './svg.mjs';

export const LEFT = 64;
const LEGEND_LINE = 36;
const LEGEND_STEP = 22;

/** Where a plot ends and the legend begins, for entries as long as these. */
export const rightOf = (labels) =>
  WIDTH - 48 - LEGEND_LINE - Math.max(...labels.map((label) => widthOf(label)));

/** Height that a legend of so many needs. */
export const legendHeight = (entries) => entries * LEGEND_STEP;

export function axes({ x, y, top, bottom, right, xLabel, yLabel }) {
  const small = { 'font-size': 11.5, fill: FAINT };
  return [
    x.ticks.map((tick) => [
      line(x.at(tick), top, x.at(tick), bottom, { stroke: GRID }),
      text(x.at(tick), bottom + 17, tick, { 'text-anchor': 'middle', ...small }),
    ]),
    y.ticks.map((tick) => [
      line(LEFT, y.at(tick), right, y.at(tick), { stroke: GRID }),
      text(LEFT - 8, y.at(tick) + 4, tick, { 'text-anchor': 'end', ...small }),
    ]),
    element('path', { d: `M${LEFT} ${top}V${bottom}H${right}`, fill: 'none', stroke: FAINT }),
    text((LEFT + right) / 2, bottom + 37, xLabel, { 'text-anchor': 'middle' }),
    text(0, 0, yLabel, {
      'text-anchor': 'middle',
      transform: `translate(22 ${(top + bottom) / 2}) rotate(-90)`,
    }),
  ];
}

/** Entries have `label`, `style` of the line, `bold`, and `marker`, drawn at the place that it gets. */
export function legend(entries, right, top) {
  return entries.map(({ label, style, bold, marker }, index) => {
    const [x, y] = [right + 24, top + 8 + index * LEGEND_STEP];
    return [
      style ? line(x, y, x + LEGEND_LINE - 8, y, style) : '',
      marker ? marker(x + (LEGEND_LINE - 8) / 2, y) : '',
      text(x + LEGEND_LINE, y + 4.5, label, { fill: INK, 'font-weight': bold ? 'bold' : undefined }),
    ];
  });
}
