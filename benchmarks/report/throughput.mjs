// Launches a second over the number under way at once: a line a family, a point where there is but one number.
import { axes, LEFT, legend, legendHeight, rightOf } from './plot.mjs';
import { linear, logarithmic } from './scale.mjs';
import { isOwn, lineStyles } from './style.mjs';
import { element, picture, TOP, tenths, text, widthOf } from './svg.mjs';

export function throughput({ scenario, rows }) {
  const all = seriesOf(rows);
  const styles = lineStyles(all.map(({ name }) => name));
  const right = rightOf(all.map(({ name }) => `${name}xx`));
  const bottom = TOP + Math.max(280, legendHeight(all.length));
  const counts = rows.map(({ concurrency }) => concurrency);
  const x = logarithmic([Math.min(...counts) / 1.25, Math.max(...counts) * 1.25], [LEFT, right], 2);
  const y = linear([0, Math.max(...rows.map(({ perSecond }) => perSecond)) * 1.15], [bottom, TOP]);
  const frame = axes({
    x,
    y,
    top: TOP,
    bottom,
    right,
    xLabel: 'launches under way at once',
    yLabel: 'launches a second',
  });
  const place = ({ concurrency, perSecond }) => [x.at(concurrency), y.at(perSecond)];
  const lines = all.map(({ name, points }) => [
    element('polyline', {
      points: points.map((point) => place(point).map(tenths).join(' ')).join(' '),
      fill: 'none',
      ...styles.get(name),
    }),
    points.map((point) => marker(styles.get(name))(...place(point))),
  ]);
  const key = legend(
    all.map(({ name, points }) => ({
      label: name,
      style: points.length > 1 ? styles.get(name) : undefined,
      marker: marker(styles.get(name)),
      bold: isOwn(name),
    })),
    right,
    TOP,
  );
  const values = labels(
    all.flatMap(({ points }) => points.map((point) => [...place(point), point.perSecond.toFixed(1)])),
  );
  return picture(`${scenario}: launches a second`, bottom + 52, [frame, lines, values, key]);
}

/** `Nova, libvirtd, 10 at once` is a point of `Nova, libvirtd`. */
function seriesOf(rows) {
  const series = new Map();
  for (const row of rows) {
    const name = row.contender.replace(/, \d+ at once$/, '');
    series.set(name, [...(series.get(name) ?? []), row]);
  }
  return [...series].map(([name, points]) => ({
    name,
    points: points.sort((a, b) => a.concurrency - b.concurrency),
  }));
}

const marker =
  ({ stroke }) =>
  (cx, cy) =>
    element('circle', { cx, cy, r: 4.5, fill: stroke, stroke: 'white', 'stroke-width': 1.5 });

/** Each value above its point, or below it where another one is in the way, or not at all. */
function labels(points) {
  const taken = points.map(([x, y]) => ({ x, y, width: 10, height: 10 }));
  return points.flatMap(([x, y, words]) => {
    const spot = [y - 14, y + 15]
      .map((middle) => ({ x, y: middle, width: widthOf(words, 12), height: 14 }))
      .find((box) => !taken.some((other) => overlap(box, other)));
    if (!spot) return [];
    taken.push(spot);
    return [text(x, spot.y + 4, words, { 'text-anchor': 'middle', 'font-size': 12 })];
  });
}

const overlap = (a, b) =>
  Math.abs(a.x - b.x) < (a.width + b.width) / 2 && Math.abs(a.y - b.y) < (a.height + b.height) / 2;
