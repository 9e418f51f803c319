// The four steps of a launch as a table.
import type { LaunchResult, LaunchStep } from '../index.js';
import { table } from './output.js';

const WHAT: Readonly<Record<LaunchStep, string>> = {
  claim: 'memory, vCPUs and disk set aside',
  image: 'base image and the instance disk on it',
  definition: 'libvirt.xml',
  start: 'bridge, tap, and the running event',
};

export function stepTable(result: LaunchResult): string {
  const rows = result.steps.map(({ step, milliseconds }) => {
    const what = step === 'image' ? `${WHAT[step]} (${result.imageCache})` : WHAT[step];
    return [step, what, milliseconds.toFixed(1)];
  });
  return table(['step', 'what', 'ms'], [...rows, ['total', '', result.totalMs.toFixed(1)]]);
}
