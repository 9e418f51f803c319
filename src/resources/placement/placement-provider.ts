// The provider of this node in Placement: there, with its inventories, traits and aggregates.
import { ComputeError } from '../../driver/errors.js';
import type { FullReport } from '../report.js';
import { retried } from './generations.js';
import type { Inventory, PlacementApi } from './placement-api.js';
import { inventoriesOf, OWN_CLASSES, traitsOf } from './provider-facts.js';

export interface ProviderOptions {
  /** Beside those of the host. Custom ones (`CUSTOM_...`) are created. */
  readonly traits: readonly string[];
  /** uuids of aggregates that the provider is in, beside those that others put it in. */
  readonly aggregates: readonly string[];
}

/** Writes only what differs from what Placement has, and leaves alone what others have set there. */
export class PlacementProvider {
  readonly #options: ProviderOptions;
  /** That we set: those of them that are no longer wanted are removed. */
  #traits = new Set<string>();

  constructor(options: ProviderOptions) {
    this.#options = options;
  }

  /** Made where it is missing. Its name follows that of the host. */
  async ensure(api: PlacementApi, { nodeUuid, node }: FullReport): Promise<void> {
    const name = node.hypervisorHostname;
    const standing = await api.provider(nodeUuid);
    if (standing?.name === name) return;
    try {
      if (standing) await api.renameProvider(nodeUuid, name);
      else await api.createProvider(nodeUuid, name);
    } catch (cause) {
      if (!ComputeError.is(cause) || cause.details['statusCode'] !== 409) throw cause;
      throw new ComputeError(
        'PLACEMENT_FAILED',
        `Placement has another provider named ${name}: remove it, or give back its uuid to this node (the file service in its instances path)`,
        { operation: 'placement', cause, details: { ...cause.details, name, uuid: nodeUuid } },
      );
    }
  }

  async update(api: PlacementApi, report: FullReport): Promise<void> {
    await retried(() => this.#updateInventories(api, report));
    await retried(() => this.#updateTraits(api, report));
    if (this.#options.aggregates.length > 0) await retried(() => this.#joinAggregates(api, report.nodeUuid));
  }

  async #updateInventories(api: PlacementApi, report: FullReport): Promise<void> {
    const { nodeUuid } = report;
    const { inventories, resource_provider_generation: generation } = await api.inventories(nodeUuid);
    const others = Object.entries(inventories).filter(([name]) => !OWN_CLASSES.includes(name));
    const wanted = { ...Object.fromEntries(others), ...inventoriesOf(report) };
    if (!sameInventories(inventories, wanted)) await api.setInventories(nodeUuid, generation, wanted);
  }

  async #updateTraits(api: PlacementApi, report: FullReport): Promise<void> {
    const { nodeUuid } = report;
    const wanted = traitsOf(report, this.#options.traits);
    const { traits, resource_provider_generation: generation } = await api.traits(nodeUuid);
    const missing = wanted.filter((trait) => !traits.includes(trait));
    // One that a Placement older than this library's list does not know cannot be set, nor asked for by anybody.
    const known = missing.length > 0 ? await this.#known(api, missing) : new Set<string>();
    const unwanted = traits.filter((trait) => this.#unwanted(trait, wanted));
    if (known.size > 0 || unwanted.length > 0) {
      const next = [...traits.filter((trait) => !unwanted.includes(trait)), ...known];
      await api.setTraits(nodeUuid, generation, next);
    }
    this.#traits = new Set(wanted);
  }

  /** The one of a disabled service may be left from an earlier process. */
  #unwanted(trait: string, wanted: readonly string[]): boolean {
    return !wanted.includes(trait) && (this.#traits.has(trait) || trait === 'COMPUTE_STATUS_DISABLED');
  }

  async #known(api: PlacementApi, names: readonly string[]): Promise<ReadonlySet<string>> {
    const known = new Set(await api.knownTraits(names));
    for (const name of names) {
      if (known.has(name) || !name.startsWith('CUSTOM_')) continue;
      await api.createTrait(name);
      known.add(name);
    }
    return known;
  }

  async #joinAggregates(api: PlacementApi, uuid: string): Promise<void> {
    const { aggregates, resource_provider_generation: generation } = await api.aggregates(uuid);
    const missing = this.#options.aggregates.filter((one) => !aggregates.includes(one));
    if (missing.length > 0) await api.setAggregates(uuid, generation, [...aggregates, ...missing]);
  }
}

function sameInventories(
  a: Readonly<Record<string, Inventory>>,
  b: Readonly<Record<string, Inventory>>,
): boolean {
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every((name) => {
      const [one, other] = [a[name], b[name]];
      return (
        one && other && Object.entries(one).every(([key, value]) => other[key as keyof Inventory] === value)
      );
    })
  );
}
