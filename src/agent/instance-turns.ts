// Work on one instance that must not overlap: one after another, in the order in which it came.

export class InstanceTurns {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Whatever became of the work before. */
  async take<T>(uuid: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(uuid);
    const running = (async () => {
      await before?.catch(() => undefined);
      return await work();
    })();
    this.#tails.set(uuid, running);
    try {
      return await running;
    } finally {
      if (this.#tails.get(uuid) === running) this.#tails.delete(uuid);
    }
  }
}
