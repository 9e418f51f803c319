// A host across a network of a given rate: a network namespace behind a pair of interfaces that a token bucket slows.
import { execFileSync } from 'node:child_process';

const ip = (...words) => execFileSync('ip', words);

export class ShapedNetwork {
  /** Of the far end. Of a block that is for benchmarks of networks: RFC 2544. */
  address;
  /** Words before a command, which then runs at the far end. */
  under;
  #name;

  /** @param rate as tc takes it: `1gbit` */
  constructor(rate, index) {
    const block = `198.18.${process.pid % 256}`;
    const near = `${block}.${index * 4 + 1}`;
    this.#name = `ncb${process.pid % 1e6}x${index}`;
    this.address = `${block}.${index * 4 + 2}`;
    this.under = ['ip', 'netns', 'exec', this.#name];
    ip('netns', 'add', this.#name);
    try {
      ip('link', 'add', this.#name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.#name);
      ip('address', 'add', `${near}/30`, 'dev', this.#name);
      ip('link', 'set', this.#name, 'up');
      this.#inside('ip', 'address', 'add', `${this.address}/30`, 'dev', 'eth0');
      for (const name of ['lo', 'eth0']) this.#inside('ip', 'link', 'set', name, 'up');
      const bucket = ['tbf', 'rate', rate, 'burst', '256kb', 'latency', '50ms'];
      this.#inside('tc', 'qdisc', 'add', 'dev', 'eth0', 'root', ...bucket);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** The interface goes with its other end. */
  dispose() {
    ip('netns', 'delete', this.#name);
  }

  #inside(...words) {
    execFileSync(this.under[0], [...this.under.slice(1), ...words]);
  }
}
