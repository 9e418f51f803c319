// How the times of each contender are distributed: the share of operations that took at most so long.
import { axes, LEFT, legend, legendHeight, rightOf } from './plot.mjs';
import { linear, logarithmic } from './scale.mjs';
import { isOwn, lineStyles } from './style.mjs';
import { element, picture, TOP, tenths, text } from './svg.mjs';

/** Fewer say nothing of a distribution. */
const ENOUGH = 10;
/** Steps of a line; more can't be told apart at this height. */
const STEPS = 200;
/** A range of values beyond this is drawn to a logarithmic scale. */
const WIDE = 10;

export const hasDistribution = ({ rows }) => rows.every(({ samples }) => samples.length >= ENOUGH);

/** A panel for each measure. */
export function latency({ scenario, unit, digits, rows }) {
  const styles = lineStyles(rows.map(({ contender }) => contender));
  const measures = [...new Set(rows.map((row) => row.measure))];
  const labelOf = ({ contender, median }) => `${contender}: ${median.toFixed(digits)}`;
  // Bold is wider.
  const right = rightOf(rows.map((row) => `${labelOf(row)}${isOwn(row.contender) ? 'xx' : ''}`));
  let top = TOP;
  const marks = measures.map((measured) => {
    const shown = rows
      .filter((row) => row.measure === measured)
      .map((row) => ({ ...row, sorted: [...row.samples].sort((a, b) => a - b) }))
      .sort((a, b) => a.median - b.median);
    if (measures.length > 1) top += 16;
    const head = measures.length > 1 ? text(LEFT, top - 10, measured, { 'font-weight': 'bold' }) : '';
    const bottom = top + Math.max(260, legendHeight(shown.length + 1));
    const { x, word } = scaleOf(shown, right);
    const y = linear([0, 1], [bottom, top]);
    const frame = axes({ x, y, top, bottom, right, xLabel: `${unit}${word}`, yLabel: 'share of operations' });
    // What is ours lies above what is not.
    const lines = [...shown]
      .sort((a, b) => isOwn(a.contender) - isOwn(b.contender))
      .map(({ contender, sorted }) =>
        element('path', { d: steps(sorted, x, y), fill: 'none', ...styles.get(contender) }),
      );
    const key = legend(
      [
        { label: `median ${unit}` },
        ...shown.map((row) => ({
          label: labelOf(row),
          style: styles.get(row.contender),
          bold: isOwn(row.contender),
        })),
      ],
      right,
      top,
    );
    top = bottom + 66;
    return [head, frame, lines, key];
  });
  return picture(`${scenario}: distribution`, top - 14, marks);
}

function scaleOf(shown, right) {
  const least = Math.min(...shown.map(({ sorted }) => sorted[0]));
  const most = Math.max(...shown.map(({ sorted }) => sorted.at(-1)));
  if (most > least * WIDE) {
    return { x: logarithmic([least / 1.1, most * 1.1], [LEFT, right]), word: ', logarithmic' };
  }
  const spare = (most - least) * 0.05;
  // From zero, unless all lie far from it.
  return { x: linear([least > most / 2 ? least - spare : 0, most + spare], [LEFT, right]), word: '' };
}

function steps(sorted, x, y) {
  const count = Math.min(sorted.length, STEPS);
  const stairs = Array.from({ length: count }, (_, index) => {
    const share = (index + 1) / count;
    return `H${tenths(x.at(sorted[Math.ceil(share * sorted.length) - 1]))}V${tenths(y.at(share))}`;
  });
  return `M${tenths(x.at(sorted[0]))} ${tenths(y.at(0))}${stairs.join('')}`;
}
