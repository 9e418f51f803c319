// Neutron as a compute host asks it: ports, and what they stand on. Answers are checked, refusals typed.
import * as v from 'valibot';
import { ComputeError } from '../../driver/errors.js';
import { check } from '../../driver/schema.js';
import {
  type Service,
  type ServiceAccess,
  type ServiceAnswer,
  ServiceTransport,
} from '../../node/service-transport.js';
import { checkedAnswer, isAway } from '../service-answer.js';
import {
  type FloatingIp,
  floatingIpSchema,
  type Named,
  type Network,
  namedSchema,
  networkSchema,
  type Port,
  portSchema,
  type Subnet,
  subnetSchema,
} from './resources.js';

export interface NeutronOptions extends ServiceAccess {
  /** Milliseconds for which a guest waits for its ports to be plugged in; 0: it does not. Default 300000, Nova's vif_plugging_timeout. */
  readonly vifPluggingTimeoutMs?: number;
  /** A port that is not plugged in ends the build. Default true, Nova's vif_plugging_is_fatal. */
  readonly vifPluggingIsFatal?: boolean;
  /** Milliseconds between two comparisons of Nova's database with Neutron, an instance each; 0: none. Default 60000. */
  readonly healIntervalMs?: number;
  /** Of Open vSwitch, where Neutron names none. Default `br-int`. */
  readonly ovsBridge?: string;
}

const NEUTRON: Service = { name: 'Neutron', type: 'network', failure: 'NEUTRON_FAILED' };

const text = v.pipe(v.string(), v.maxLength(4096));
const errorSchema = v.object({ NeutronError: v.object({ type: text, message: text }) });

export type Filters = Readonly<Record<string, string | readonly string[]>>;

/** Neutron said no. Decide by `type`, its class of the failure: `OverQuota`, `PortNotFound`; empty where it named none. */
export class NeutronError extends ComputeError {
  override readonly name = 'NeutronError';
  readonly type: string;

  constructor(what: string, answer: ServiceAnswer) {
    const { status, body } = answer;
    const known = check(errorSchema, body);
    const { type, message } = known.problems
      ? { type: '', message: `it answers with status ${status}` }
      : known.value.NeutronError;
    super('NEUTRON_FAILED', `Neutron: ${what}: ${message}`, {
      operation: what,
      retryable: isAway(answer),
      details: { status, type },
    });
    this.type = type;
  }

  static of(error: unknown, type: string): error is NeutronError {
    return error instanceof NeutronError && error.type === type;
  }
}

/** With an administrator's rights: ports of users are bound to hosts by no other. Rejections are `NEUTRON_FAILED`, `UNAUTHORIZED`. */
export class Neutron {
  readonly #transport: ServiceTransport;
  readonly #signal: AbortSignal;
  #extensions: ReadonlySet<string> | undefined;

  /** Throws `INVALID_ARGUMENT`; asks nobody yet. */
  constructor(access: ServiceAccess, signal: AbortSignal) {
    const { endpoint, auth, region, interface: wanted, caFile } = access;
    this.#transport = new ServiceTransport(NEUTRON, {
      ...(endpoint !== undefined && { endpoint }),
      ...(auth !== undefined && { auth }),
      ...(region !== undefined && { region }),
      ...(wanted !== undefined && { interface: wanted }),
      ...(caFile !== undefined && { caFile }),
    });
    this.#signal = signal;
  }

  async ports(filters: Filters): Promise<readonly Port[]> {
    return await this.#list('ports', filters, portSchema);
  }

  /** Undefined: there is none of that id. */
  async port(id: string): Promise<Port | undefined> {
    return (await this.ports({ id }))[0];
  }

  async createPort(fields: Readonly<Record<string, unknown>>): Promise<Port> {
    const body = { port: fields };
    return this.#portOf('create a port', await this.#ask('create a port', 'POST', '/ports', body));
  }

  async updatePort(id: string, fields: Readonly<Record<string, unknown>>): Promise<Port> {
    const what = `update port ${id}`;
    return this.#portOf(
      what,
      await this.#ask(what, 'PUT', `/ports/${encodeURIComponent(id)}`, { port: fields }),
    );
  }

  /** Gone already is success. */
  async deletePort(id: string): Promise<void> {
    try {
      await this.#ask(`delete port ${id}`, 'DELETE', `/ports/${encodeURIComponent(id)}`);
    } catch (error) {
      if (!NeutronError.of(error, 'PortNotFound')) throw error;
    }
  }

  async networks(filters: Filters): Promise<readonly Network[]> {
    return await this.#list('networks', filters, networkSchema);
  }

  async subnets(ids: readonly string[]): Promise<readonly Subnet[]> {
    return ids.length === 0 ? [] : await this.#list('subnets', { id: ids }, subnetSchema);
  }

  /** None where there are no routers at all. */
  async floatingIps(portIds: readonly string[]): Promise<readonly FloatingIp[]> {
    if (portIds.length === 0 || !(await this.hasExtension('router'))) return [];
    return await this.#list('floatingips', { port_id: portIds }, floatingIpSchema);
  }

  async securityGroups(projectId: string): Promise<readonly Named[]> {
    const filters = { tenant_id: projectId, fields: ['id', 'name'] };
    return await this.#list('security-groups', filters, namedSchema);
  }

  /** The id of the network that Neutron makes, or has made, for a project that has none. */
  async autoAllocatedNetwork(projectId: string): Promise<string> {
    const what = 'allocate a network';
    const path = `/auto-allocated-topology/${encodeURIComponent(projectId)}`;
    const schema = v.object({ auto_allocated_topology: v.object({ id: text }) });
    return checkedAnswer(NEUTRON, what, schema, await this.#ask(what, 'GET', path)).auto_allocated_topology
      .id;
  }

  /** Asked once. */
  async hasExtension(alias: string): Promise<boolean> {
    this.#extensions ??= new Set(
      (await this.#list('extensions', {}, v.object({ alias: text }))).map((one) => one.alias),
    );
    return this.#extensions.has(alias);
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #portOf(what: string, body: unknown): Port {
    return checkedAnswer(NEUTRON, what, v.object({ port: portSchema }), body).port;
  }

  async #list<T>(
    resource: string,
    filters: Filters,
    schema: v.GenericSchema<unknown, T>,
  ): Promise<readonly T[]> {
    const query = new URLSearchParams();
    for (const [name, values] of Object.entries(filters)) {
      for (const value of [values].flat()) query.append(name, value);
    }
    const what = `list ${resource}`;
    const body = await this.#ask(what, 'GET', `/${resource}?${query}`);
    const key = resource.replaceAll('-', '_');
    return checkedAnswer(NEUTRON, what, v.record(v.string(), v.array(schema)), pick(body, key))[key] ?? [];
  }

  async #ask(
    what: string,
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<unknown> {
    const answer = await this.#transport.request({ method, path: `/v2.0${path}`, body }, this.#signal);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    throw new NeutronError(what, answer);
  }
}

/** Links to further pages stand beside the list. */
function pick(body: unknown, key: string): unknown {
  return { [key]: (body as Readonly<Record<string, unknown>> | undefined)?.[key] };
}
