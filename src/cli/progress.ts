// Progress of a launch, a fetch or a scrub: a bar where a person looks, a line per activity elsewhere.
import cliProgress from 'cli-progress';
import type { LaunchProgress } from '../index.js';
import { isInteractive, type Output } from './output.js';

export class Progress implements Disposable {
  readonly #output: Output;
  readonly #bar: cliProgress.SingleBar | undefined;
  #activity = '';

  constructor(output: Output) {
    this.#output = output;
    if (!output.json && isInteractive(process.stderr)) {
      this.#bar = new cliProgress.SingleBar(
        { format: '{activity} [{bar}] {percentage}%', hideCursor: true, clearOnComplete: true },
        cliProgress.Presets.rect,
      );
    }
  }

  show({ activity, doneBytes, totalBytes }: Omit<LaunchProgress, 'step'>): void {
    if (activity !== this.#activity) {
      this.#activity = activity;
      if (this.#bar) this.#bar.start(totalBytes ?? 1, 0, { activity });
      else this.#output.note(activity);
    }
    if (totalBytes !== undefined) this.#bar?.setTotal(totalBytes);
    if (doneBytes !== undefined) this.#bar?.update(doneBytes, { activity });
  }

  [Symbol.dispose](): void {
    this.#bar?.stop();
  }
}
