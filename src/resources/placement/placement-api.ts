// The calls to Placement that a compute node needs, their answers checked, their refusals as errors.
import * as v from 'valibot';
import { ComputeError } from '../../driver/errors.js';
import { check } from '../../driver/schema.js';
import type { PlacementAnswer, PlacementRequest, PlacementTransport } from './placement-transport.js';

/** What one consumer has of one provider, by resource class. */
export type Resources = Readonly<Record<string, number>>;

export interface Inventory {
  readonly total: number;
  readonly reserved: number;
  readonly min_unit: number;
  readonly max_unit: number;
  readonly step_size: number;
  readonly allocation_ratio: number;
}

export interface Consumer {
  /** Null where it has nothing yet. */
  readonly generation: number | null;
  readonly type: string | undefined;
  readonly projectId: string | undefined;
  readonly userId: string | undefined;
  /** By the uuid of the provider. */
  readonly allocations: Readonly<Record<string, { readonly resources: Resources }>>;
}

/** A generation was not the newest: somebody else changed the same thing. Asked again, it will do. */
export class GenerationConflict extends Error {}

/** Of the provider: what is changed against it must name it. */
interface Generation {
  readonly resource_provider_generation: number;
}

export interface ProviderInventories extends Generation {
  readonly inventories: Readonly<Record<string, Inventory>>;
}

export interface ProviderTraits extends Generation {
  readonly traits: readonly string[];
}

export interface ProviderAggregates extends Generation {
  readonly aggregates: readonly string[];
}

const resources: v.GenericSchema<unknown, Resources> = v.record(v.string(), v.number());
const ofProvider = { resource_provider_generation: v.number() };
const providerSchema = v.object({ uuid: v.string(), name: v.string() });
const inventorySchema: v.GenericSchema<unknown, Inventory> = v.object({
  total: v.number(),
  reserved: v.number(),
  min_unit: v.number(),
  max_unit: v.number(),
  step_size: v.number(),
  allocation_ratio: v.number(),
});
const inventoriesSchema: v.GenericSchema<unknown, ProviderInventories> = v.object({
  ...ofProvider,
  inventories: v.record(v.string(), inventorySchema),
});
const traitsSchema: v.GenericSchema<unknown, ProviderTraits> = v.object({
  ...ofProvider,
  traits: v.array(v.string()),
});
const traitNamesSchema = v.object({ traits: v.array(v.string()) });
const aggregatesSchema: v.GenericSchema<unknown, ProviderAggregates> = v.object({
  ...ofProvider,
  aggregates: v.array(v.string()),
});
const providerAllocationsSchema = v.object({ allocations: v.record(v.string(), v.object({ resources })) });
const consumerSchema = v.object({
  allocations: v.record(v.string(), v.object({ resources })),
  consumer_generation: v.optional(v.nullable(v.number())),
  consumer_type: v.optional(v.string()),
  project_id: v.optional(v.string()),
  user_id: v.optional(v.string()),
});
const errorsSchema = v.object({
  errors: v.array(v.object({ code: v.optional(v.string()), detail: v.optional(v.string()) })),
});

/** The request lines of a server hold no more than so many names at once. */
const NAMES_AT_ONCE = 100;

export class PlacementApi {
  readonly #transport: PlacementTransport;
  readonly #signal: AbortSignal;

  /** All calls end with the signal. */
  constructor(transport: PlacementTransport, signal: AbortSignal) {
    this.#transport = transport;
    this.#signal = signal;
  }

  /** Undefined where there is none. */
  async provider(uuid: string): Promise<{ readonly name: string } | undefined> {
    const answer = await this.#send({ method: 'GET', path: `/resource_providers/${uuid}` });
    return answer.status === 404 ? undefined : this.#read('the provider', providerSchema, answer);
  }

  async createProvider(uuid: string, name: string): Promise<void> {
    const request = { method: 'POST', path: '/resource_providers', body: { uuid, name } } as const;
    this.#expect('creating the provider', await this.#send(request));
  }

  async renameProvider(uuid: string, name: string): Promise<void> {
    const request = { method: 'PUT', path: `/resource_providers/${uuid}`, body: { name } } as const;
    this.#expect('renaming the provider', await this.#send(request));
  }

  /** False where instances still have allocations of it. */
  async removeProvider(uuid: string): Promise<boolean> {
    const answer = await this.#send({ method: 'DELETE', path: `/resource_providers/${uuid}` });
    if (answer.status === 409) return false;
    if (answer.status !== 404) this.#expect('removing the provider', answer);
    return true;
  }

  async inventories(uuid: string): Promise<ProviderInventories> {
    return this.#read('its inventories', inventoriesSchema, await this.#get(uuid, 'inventories'));
  }

  async setInventories(
    uuid: string,
    generation: number,
    inventories: Readonly<Record<string, Inventory>>,
  ): Promise<void> {
    await this.#put(uuid, 'inventories', { resource_provider_generation: generation, inventories });
  }

  async traits(uuid: string): Promise<ProviderTraits> {
    return this.#read('its traits', traitsSchema, await this.#get(uuid, 'traits'));
  }

  async setTraits(uuid: string, generation: number, traits: readonly string[]): Promise<void> {
    await this.#put(uuid, 'traits', { resource_provider_generation: generation, traits });
  }

  /** Those of the names that Placement knows. */
  async knownTraits(names: readonly string[]): Promise<ReadonlySet<string>> {
    const known = new Set<string>();
    for (let at = 0; at < names.length; at += NAMES_AT_ONCE) {
      const some = names.slice(at, at + NAMES_AT_ONCE).join(',');
      const answer = await this.#send({ method: 'GET', path: `/traits?name=in:${some}` });
      for (const name of this.#read('traits', traitNamesSchema, answer).traits) known.add(name);
    }
    return known;
  }

  /** `CUSTOM_...`; known already is success. */
  async createTrait(name: string): Promise<void> {
    const answer = await this.#send({ method: 'PUT', path: `/traits/${encodeURIComponent(name)}` });
    this.#expect(`creating the trait ${name}`, answer);
  }

  async aggregates(uuid: string): Promise<ProviderAggregates> {
    return this.#read('its aggregates', aggregatesSchema, await this.#get(uuid, 'aggregates'));
  }

  async setAggregates(uuid: string, generation: number, aggregates: readonly string[]): Promise<void> {
    await this.#put(uuid, 'aggregates', { resource_provider_generation: generation, aggregates });
  }

  /** By consumer. */
  async allocationsOf(uuid: string): Promise<ReadonlyMap<string, Resources>> {
    const answer = await this.#get(uuid, 'allocations');
    const { allocations } = this.#read('its allocations', providerAllocationsSchema, answer);
    return new Map(Object.entries(allocations).map(([consumer, one]) => [consumer, one.resources]));
  }

  async consumer(uuid: string): Promise<Consumer> {
    const answer = await this.#send({ method: 'GET', path: `/allocations/${uuid}` });
    const read = this.#read(`the allocations of ${uuid}`, consumerSchema, answer);
    return {
      generation: read.consumer_generation ?? null,
      type: read.consumer_type,
      projectId: read.project_id,
      userId: read.user_id,
      allocations: read.allocations,
    };
  }

  /** Without any allocation it is removed. */
  async setConsumer(uuid: string, consumer: Required<Consumer>): Promise<void> {
    const answer = await this.#send({ method: 'PUT', path: `/allocations/${uuid}`, body: bodyOf(consumer) });
    this.#expect(`the allocations of ${uuid}`, answer);
  }

  /** What one consumer has becomes the other's, in place of what that had, in one change. Nothing to move is success. */
  async moveAllocations(from: string, to: string): Promise<void> {
    const [source, target] = [await this.consumer(from), await this.consumer(to)];
    if (Object.keys(source.allocations).length === 0) return;
    const body = {
      [from]: bodyOf({ ...source, allocations: {} }),
      [to]: bodyOf({ ...source, ...target, allocations: source.allocations }),
    };
    const answer = await this.#send({ method: 'POST', path: '/allocations', body });
    this.#expect(`moving the allocations of ${from}`, answer);
  }

  /** Whoever made it, with all it has. Gone already is success. */
  async removeConsumer(uuid: string): Promise<void> {
    const answer = await this.#send({ method: 'DELETE', path: `/allocations/${uuid}` });
    if (answer.status !== 404) this.#expect(`removing the allocations of ${uuid}`, answer);
  }

  #get(uuid: string, part: string): Promise<PlacementAnswer> {
    return this.#send({ method: 'GET', path: `/resource_providers/${uuid}/${part}` });
  }

  async #put(uuid: string, part: string, body: object): Promise<void> {
    const answer = await this.#send({ method: 'PUT', path: `/resource_providers/${uuid}/${part}`, body });
    this.#expect(`its ${part}`, answer);
  }

  async #send(request: PlacementRequest): Promise<PlacementAnswer> {
    return await this.#transport.request(request, this.#signal);
  }

  #read<T>(what: string, schema: v.GenericSchema<unknown, T>, answer: PlacementAnswer): T {
    this.#expect(what, answer);
    const checked = check(schema, answer.body);
    if (!checked.problems) return checked.value;
    throw failed(`${what}: its answer is not that of Placement`, answer.status, false);
  }

  #expect(what: string, { status, body }: PlacementAnswer): void {
    if (status >= 200 && status < 300) return;
    const checked = check(errorsSchema, body);
    const [error] = checked.problems ? [] : checked.value.errors;
    if (status === 409 && error?.code === 'placement.concurrent_update') throw new GenerationConflict(what);
    throw failed(
      `${what}: ${error?.detail ?? 'it gives no reason'}`,
      status,
      status === 429 || status >= 500,
    );
  }
}

/** Placement tells `unknown` of one that was made before there were types, or by Nova, and takes it from nobody. */
function bodyOf(consumer: Consumer): object {
  return {
    allocations: consumer.allocations,
    consumer_generation: consumer.generation,
    consumer_type: consumer.type === 'unknown' ? 'INSTANCE' : consumer.type,
    project_id: consumer.projectId,
    user_id: consumer.userId,
  };
}

function failed(reason: string, statusCode: number, retryable: boolean): ComputeError {
  return new ComputeError('PLACEMENT_FAILED', `Placement answers with status ${statusCode}: ${reason}`, {
    operation: 'placement',
    retryable,
    details: { statusCode },
  });
}
