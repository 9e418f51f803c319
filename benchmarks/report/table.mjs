// Results as rows of words, for Markdown and for HTML.

const number = (value, digits = 1) => (Number.isFinite(value) ? value.toFixed(digits) : '');

/** The first row is the head. */
export function resultRows({ unit, digits, base, rows, skipped }) {
  const measures = new Set(rows.map((row) => row.measure)).size > 1;
  const burst = rows.some(({ concurrency }) => concurrency > 1);
  const delay = rows.some(({ values }) => values?.eventLoopDelayP99Ms !== undefined);
  const columns = [
    ['contender', (row) => row.contender],
    measures && ['measure', (row) => row.measure],
    burst && ['a second', (row) => number(row.perSecond)],
    burst && base && [`of ${base}'s`, ({ perSecondRatio }) => number(perSecondRatio?.median, 2)],
    [`median ${unit}`, (row) => number(row.median, digits)],
    ['p95', (row) => number(row.p95, digits)],
    ['p99', (row) => number(row.p99, digits)],
    ['n', (row) => String(row.n)],
    base &&
      !burst && [
        `ratio to ${base} (spread over rounds)`,
        ({ ratio }) =>
          ratio ? `${number(ratio.median, 2)} (${number(ratio.min, 2)}-${number(ratio.max, 2)})` : '',
      ],
    ['CPU ms each', (row) => number(row.cpuMsPerOperation, 0)],
    rows.some((row) => row.libvirtdCpuMsPerOperation !== undefined) && [
      "libvirtd's CPU ms each",
      (row) => number(row.libvirtdCpuMsPerOperation, 0),
    ],
    ['peak RSS MiB', (row) => number(row.peakRssMib, 0)],
    ['threads', (row) => number(row.threads, 0)],
    rows.some((row) => row.programs) && ['programs run each', (row) => programsRun(row)],
    ...valueColumns(rows),
    delay && ['event loop delay p99 ms', (row) => number(row.values?.eventLoopDelayP99Ms)],
  ].filter(Boolean);
  return [
    columns.map(([head]) => head),
    ...rows.map((row) => columns.map(([, cell]) => cell(row))),
    ...skipped.map(({ name, why }) => columns.map((_, index) => [name, `skipped: ${why}`][index] ?? '')),
  ];
}

/** Of the scenarios whose contenders tell them. */
function valueColumns(rows) {
  const heads = { mibPerSecond: 'MiB/s', pausedMs: 'guest stopped ms' };
  return Object.entries(heads)
    .filter(([name]) => rows.some(({ values }) => values?.[name] !== undefined))
    .map(([name, head]) => [head, ({ values }) => number(values?.[name])]);
}

/** `6: 4 qemu-img, 2 ..`. */
function programsRun({ programs, programsEach }) {
  if (!programs) return '';
  const parts = Object.entries(programs).sort(([, a], [, b]) => b - a);
  return `${number(programsEach, 0)}: ${parts.map(([name, times]) => (times === 1 ? name : `${number(times, times % 1 && 1)} ${name}`)).join(', ')}`;
}

export function goalRows(results) {
  return [
    ['scenario', 'goal', 'wanted', 'measured', ''],
    ...results.flatMap(({ scenario, goals, loaded }) =>
      goals.map(({ text, atMost, atLeast, got, met }) => [
        scenario,
        text,
        atMost === undefined ? `at least ${atLeast}` : `at most ${atMost}`,
        got === undefined ? 'not measured' : number(got, got < 10 ? 2 : 1),
        `${got === undefined ? '' : met ? 'met' : '**not met**'}${loaded ? ' (loaded machine)' : ''}`,
      ]),
    ),
  ];
}

/** Where and when it was measured. */
export function setting({ machine, rounds, busyBefore, busyAfter, loaded }) {
  return (
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGib} GiB, ${machine.distribution}, kernel ${machine.kernel}; ` +
    `${machine.qemu}; libvirt ${machine.libvirt}; Node.js ${machine.node}; commit ${machine.commit}; ` +
    `${machine.date.slice(0, 10)}; ${rounds} rounds; CPUs busy with other work ${number(busyBefore * 100, 0)} % before, ${number(busyAfter * 100, 0)} % after` +
    `${loaded ? ' (**the machine had other work**)' : ''}.`
  );
}
