// What the contract suite runs on: the caller's test framework, the driver under test, and a few ways to look at it.
import assert from 'node:assert/strict';
import type { ComputeDriver } from '../compute-driver.js';
import { ComputeError, type ErrorCode } from '../errors.js';
import type { DriverEvent, Instance, PowerState } from '../model.js';
import type { SnapshotTarget } from '../snapshot.js';
import type { VolumeConnection } from '../volume.js';

/** Those of vitest, node:test, jest or mocha. `it` gets the test's time limit as third argument where the framework takes one. */
export interface ContractFramework {
  describe(name: string, define: () => void): unknown;
  it(name: string, test: () => Promise<void>, timeoutMs?: number): unknown;
  /** Once before the tests of the enclosing describe: beforeAll of vitest and jest, before of the others. */
  before(run: () => Promise<void>, timeoutMs?: number): unknown;
  after(run: () => Promise<void>, timeoutMs?: number): unknown;
}

export interface ContractLimits {
  /** One short call. Default 30000. */
  readonly callMs?: number;
  /** One launch, and the time a guest has to write to its console. Default 120000. */
  readonly spawnMs?: number;
  /** Given to a guest to shut itself down. Default 2000. */
  readonly shutdownMs?: number;
  /** Launched at the same time. Default 4. */
  readonly concurrency?: number;
}

export interface DriverContract extends ContractFramework {
  /** A driver that has not been initialised. Called a second time after the first was closed, and must then find the same host. */
  makeDriver(): ComputeDriver | Promise<ComputeDriver>;
  /**
   * A new instance, with a uuid, an id and names of its own, that boots on this host. About 20 are spawned, one of them
   * with an ephemeral disk and a swap disk beside.
   */
  makeInstance(): Instance | Promise<Instance>;
  /** One whose guest ignores the request to shut down. Without it the fall from soft to hard is not tested. */
  makeStubbornInstance?(): Instance | Promise<Instance>;
  /** A new volume that the host can reach, of some MiB. Without it volumes are not tested. */
  makeVolume?(): VolumeConnection | Promise<VolumeConnection>;
  /** Where a new image may go; a new place each time. Without it snapshots are not tested. */
  makeSnapshotTarget?(): SnapshotTarget | Promise<SnapshotTarget>;
  /** What the host still has of an instance: files, taps, domains. Empty where there is nothing. */
  leftovers?(instance: Instance): Promise<string[]>;
  /** What the guest of {@link makeInstance} writes to its console at boot. Without it the console's content is not tested. */
  readonly consoleText?: string | RegExp;
  readonly limits?: ContractLimits;
}

/** Sees every event from the driver's start on. */
export class EventLog {
  readonly seen: DriverEvent[] = [];
  readonly ended: Promise<void>;
  readonly #waiting = new Set<() => void>();

  constructor(events: AsyncIterable<DriverEvent>) {
    this.ended = this.#pump(events);
  }

  async #pump(events: AsyncIterable<DriverEvent>): Promise<void> {
    for await (const event of events) {
      this.seen.push(event);
      for (const wake of this.#waiting) wake();
    }
  }

  /** The index after the last event so far: give it to {@link waitFor} to look at later ones only. */
  get mark(): number {
    return this.seen.length;
  }

  async waitFor(
    what: string,
    matches: (event: DriverEvent) => boolean,
    timeoutMs: number,
    from = 0,
  ): Promise<DriverEvent> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const found = this.seen.slice(from).find(matches);
      if (found) return found;
      const left = deadline - Date.now();
      assert.ok(
        left > 0,
        `no event "${what}" within ${timeoutMs} ms; seen: ${describeEvents(this.seen.slice(from))}`,
      );
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, left);
        const waiting = this.#waiting;
        waiting.add(done);
        function done(): void {
          clearTimeout(timer);
          waiting.delete(done);
          resolve();
        }
      });
    }
  }

  lifecycle(uuid: string, name: string, timeoutMs: number, from = 0): Promise<DriverEvent> {
    const matches = (event: DriverEvent): boolean =>
      event.type === 'lifecycle' && event.uuid === uuid && event.event === name;
    return this.waitFor(`${name} of ${uuid}`, matches, timeoutMs, from);
  }
}

function describeEvents(events: readonly DriverEvent[]): string {
  return events.map((event) => (event.type === 'lifecycle' ? event.event : event.type)).join(' ') || 'none';
}

/** The driver under test and what the tests ask of it again and again. */
export class ContractBench {
  readonly contract: DriverContract;
  readonly callMs: number;
  readonly spawnMs: number;
  readonly shutdownMs: number;
  readonly concurrency: number;
  #driver: ComputeDriver | undefined;
  #log: EventLog | undefined;

  constructor(contract: DriverContract) {
    this.contract = contract;
    const { callMs = 30_000, spawnMs = 120_000, shutdownMs = 2_000, concurrency = 4 } = contract.limits ?? {};
    this.callMs = callMs;
    this.spawnMs = spawnMs;
    this.shutdownMs = shutdownMs;
    this.concurrency = concurrency;
  }

  get driver(): ComputeDriver {
    assert.ok(this.#driver, 'the driver did not come up');
    return this.#driver;
  }

  get log(): EventLog {
    assert.ok(this.#log, 'the driver did not come up');
    return this.#log;
  }

  async open(): Promise<void> {
    this.#driver = await this.contract.makeDriver();
    await this.#driver.initHost({ timeoutMs: this.spawnMs });
    this.#log = new EventLog(this.#driver.events());
  }

  /** Waits until its guest has written what {@link DriverContract.consoleText} says, where that is known. */
  async booted({ uuid }: Instance): Promise<void> {
    const { consoleText } = this.contract;
    if (consoleText === undefined || !this.driver.capabilities.consoleOutput) return;
    await this.console(uuid, consoleText);
  }

  /** The console's text as soon as it holds what is expected. */
  async console(uuid: string, expected: string | RegExp): Promise<string> {
    const deadline = Date.now() + this.spawnMs;
    for (;;) {
      const text = Buffer.from(await this.driver.getConsoleOutput(uuid)).toString('utf8');
      if (typeof expected === 'string' ? text.includes(expected) : expected.test(text)) return text;
      assert.ok(Date.now() < deadline, `the console does not show ${String(expected)}: ${text.slice(-500)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  /** Fails where anything of the instance is left. */
  async assertNothingLeft(instance: Instance): Promise<void> {
    assert.equal(await this.driver.instanceExists(instance.uuid), false, 'the hypervisor still knows it');
    const listed = (await this.driver.listInstances()).map(({ uuid }) => uuid);
    assert.ok(!listed.includes(instance.uuid), 'it is still listed');
    await expectError(this.driver.getInfo(instance.uuid), ['INSTANCE_NOT_FOUND']);
    assert.deepEqual((await this.contract.leftovers?.(instance)) ?? [], [], 'something is left on the host');
  }

  async assertState(instance: Instance, state: PowerState): Promise<void> {
    const info = await this.driver.getInfo(instance.uuid);
    assert.equal(info.powerState, state);
    const runs = state === 'running' || state === 'paused';
    assert.equal(info.domainId >= 0, runs, `domainId ${info.domainId} of an instance that is ${state}`);
  }

  /** Runs the test on a launched instance and removes it whatever happens. */
  async withInstance(instance: Instance, test: () => Promise<void>): Promise<void> {
    try {
      await this.driver.spawn(instance, { timeoutMs: this.spawnMs });
      await test();
    } finally {
      await this.driver.destroy(instance, { timeoutMs: this.spawnMs });
    }
  }
}

/** The rejection must be a ComputeError with one of these codes; returns it. */
export async function expectError(
  call: Promise<unknown>,
  codes: readonly ErrorCode[],
): Promise<ComputeError> {
  let value: unknown;
  try {
    value = await call;
  } catch (error) {
    assert.ok(ComputeError.is(error), `rejected with something that is no ComputeError: ${String(error)}`);
    assert.ok(
      codes.includes(error.code),
      `code ${error.code}, expected ${codes.join(' or ')}: ${error.message}`,
    );
    assert.ok(error.message.length > 0, 'an error without a message');
    return error;
  }
  assert.fail(`resolved with ${String(value)}, expected a rejection with ${codes.join(' or ')}`);
}
