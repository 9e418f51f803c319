// Ids seen lately, so that the copy of a message is known as one; bounded, the oldest go first.

export class RecentIds {
  readonly #ids = new Set<string>();
  readonly #most: number;

  /** oslo.messaging remembers 16. */
  constructor(most = 4096) {
    this.#most = most;
  }

  /** False where it was seen; that makes it the newest again. */
  add(id: string): boolean {
    const isNew = !this.#ids.delete(id);
    this.#ids.add(id);
    if (this.#ids.size > this.#most) {
      const [oldest] = this.#ids;
      if (oldest !== undefined) this.#ids.delete(oldest);
    }
    return isNew;
  }
}
