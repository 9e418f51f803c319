// What the hypervisor says when it is asked, and what events have said since: the figures that reports are made of.
import type { NodeInventory } from '../driver/inventory.js';
import type { AvailableResource, PowerState } from '../driver/model.js';
import type { InstanceUsage, UsageGroup } from '../driver/usage.js';
import { totalsOf } from './node-report.js';
import type { InstanceReport } from './report.js';
import type { ReportSource } from './report-source.js';
import { type UsageRates, usageRates } from './usage-rates.js';

const TIMEOUT_MS = 30_000;

interface Sampled {
  readonly usage: InstanceUsage | undefined;
  readonly rates: UsageRates | undefined;
}

export class HostSampler {
  readonly #source: Pick<ReportSource, 'driver' | 'tracker' | 'service'>;
  readonly #groups: readonly UsageGroup[] | undefined;
  readonly #states = new Map<string, PowerState>();
  /** Told by events while a sample is under way: newer than what it says. */
  readonly #newer = new Set<Map<string, PowerState>>();
  #sampled = new Map<string, Sampled>();
  #resource: AvailableResource | undefined;
  #inventory: NodeInventory | undefined;

  constructor(source: Pick<ReportSource, 'driver' | 'tracker' | 'service'>, groups?: readonly UsageGroup[]) {
    this.#source = source;
    this.#groups = groups;
  }

  /** Undefined before the first sample. */
  get resource(): AvailableResource | undefined {
    return this.#resource;
  }

  get inventory(): NodeInventory | undefined {
    return this.#inventory;
  }

  /** Rejects with what the driver says; the figures are as before then. */
  async sample(signal: AbortSignal): Promise<void> {
    const { driver, tracker, service } = this.#source;
    const { usage: hasUsage } = driver.capabilities;
    const call = { signal, timeoutMs: TIMEOUT_MS };
    const newer = new Map<string, PowerState>();
    this.#newer.add(newer);
    try {
      const [resource, usages, summaries, inventory] = await Promise.all([
        driver.getAvailableResource(call),
        hasUsage ? driver.getInstancesUsage({ ...call, ...(this.#groups && { groups: this.#groups }) }) : [],
        hasUsage ? [] : driver.listInstances(call),
        hasUsage ? (this.#inventory ?? driver.getInventory(call)) : undefined,
      ]);
      this.#resource = resource;
      this.#inventory = inventory;
      tracker.setTotals(totalsOf(resource));
      this.#states.clear();
      for (const { uuid, powerState } of [...usages, ...summaries]) this.#states.set(uuid, powerState);
      for (const [uuid, powerState] of newer) this.#states.set(uuid, powerState);
      this.#sampled = new Map(usages.map((usage) => [usage.uuid, this.#withRates(usage)]));
      service.seen();
    } finally {
      this.#newer.delete(newer);
    }
  }

  /** An event has told the state. */
  note(uuid: string, powerState: PowerState | undefined): void {
    if (powerState === undefined) return;
    this.#states.set(uuid, powerState);
    for (const newer of this.#newer) newer.set(uuid, powerState);
  }

  of(uuid: string): Pick<InstanceReport, 'powerState' | 'usage' | 'rates'> {
    const { usage, rates } = this.#sampled.get(uuid) ?? { usage: undefined, rates: undefined };
    return { powerState: this.#states.get(uuid) ?? 'nostate', usage, rates };
  }

  #withRates(usage: InstanceUsage): Sampled {
    const before = this.#sampled.get(usage.uuid)?.usage;
    return { usage, rates: before && usageRates(before, usage) };
  }
}
