// Undo steps of one operation: registered before their effect, run last first when the operation fails.

interface UndoStep {
  readonly name: string;
  readonly run: () => Promise<void> | void;
}

/**
 * Steps may run although their effect never happened, and may run twice: each must be idempotent.
 * A step that fails does not stop those before it.
 */
export class Undo {
  readonly #steps: UndoStep[] = [];

  /** Registers a step; call it before the effect that it undoes. */
  add(name: string, run: () => Promise<void> | void): void {
    this.#steps.push({ name, run });
  }

  /** Keeps what was done: the operation succeeded. */
  commit(): void {
    this.#steps.length = 0;
  }

  /** Undoes everything, last first. Returns the steps that failed, for the log and the error's details. */
  async run(): Promise<{ readonly name: string; readonly error: unknown }[]> {
    const failures: { name: string; error: unknown }[] = [];
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.run();
      } catch (error) {
        failures.push({ name: step.name, error });
      }
    }
    return failures;
  }
}
