// Taps that come and go on a bridge of the trial's own network namespace: what a trial of `plug` counts.
import { execFileSync } from 'node:child_process';
import { repeat } from './repeat.mjs';

const TAPS = 100;
const BRIDGE = 'brbench';
const ip = (...words) => execFileSync('ip', words, { encoding: 'utf8' });

/** Runs `plug(bridge, taps)` again and again; removes the taps, and sees that they were there, uncounted. */
export async function plugging(plug, amount) {
  const taps = Array.from({ length: TAPS }, (_, index) => `tapb${index}`);
  ip('link', 'add', BRIDGE, 'type', 'bridge');
  ip('link', 'set', BRIDGE, 'up');
  const undo = () => {
    const ports = JSON.parse(ip('-json', 'link', 'show', 'master', BRIDGE)).filter(({ flags }) =>
      flags.includes('UP'),
    );
    if (ports.length !== TAPS) throw new Error(`${ports.length} of ${TAPS} taps are up on the bridge`);
    execFileSync('ip', ['-batch', '-'], { input: taps.map((name) => `link delete ${name}\n`).join('') });
  };
  return await repeat('plug', () => plug(BRIDGE, taps), { ...amount, undo });
}
