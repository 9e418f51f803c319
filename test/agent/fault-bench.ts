// A control plane, and an agent on it that can be closed, opened again, and made to fail: for tests of faults.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { expect, onTestFinished, vi } from 'vitest';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import type { ComputeAgentOptions } from '../../src/agent/agent-options.js';
import { AmqpBroker, type AmqpBrokerOptions } from '../../src/agent/amqp-broker.js';
import { FileCommandJournal } from '../../src/agent/command-journal.js';
import { ownContext } from '../../src/agent/context.js';
import { encodeRequest } from '../../src/agent/envelope.js';
import { decodeValue, encodeValue, type NovaObject } from '../../src/agent/nova-object.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { Undo } from '../../src/driver/undo.js';
import { ComputeAgent, FakeHypervisor, Faults } from '../../src/index.js';
import type { TlsFiles } from './certificates.js';
import { FakeConductor } from './fake-conductor.js';
import { rows } from './traces.js';

export const HOST = 'rig-compute';
export const WAIT = { timeout: 30_000, interval: 20 };
/** Without Keystone any is good, and of an administrator that begins so. */
export const PLACEMENT_TOKEN = 'admin:of-placement-s3cret';
export const BUILD = 'compute__do_build_and_run_instance';

/** Why there can be none on this machine. */
export const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle();

const trace = rows('libvirt');

export type Arguments = Record<string, unknown> & { readonly instance: NovaObject };

export interface Sent {
  readonly method: string;
  readonly args: Arguments;
}

/** What the stock host was sent. */
export function request(operation: string): Sent {
  const row = trace.find((one) => one.kind === 'in' && one.operation === operation);
  return { method: String(row?.method), args: decodeValue(row?.args) as Arguments };
}

export const UUID = String(request('boot-warm').args.instance.get('uuid'));

/** All of it ends with the test. */
export class FaultBench {
  readonly conductor = new FakeConductor();
  readonly hypervisor = new FakeHypervisor({ hostname: 'host', vcpus: 4, memoryMb: 4096, localGb: 50 });
  readonly faults = new Faults();
  placement: PrivatePlacement;
  readonly rabbitmq: PrivateRabbitmq;
  readonly client: RpcClient;
  /** Lines of the agents' logs, of every level, with their fields. */
  readonly lines: string[] = [];
  /** The broker's, instead of the one without TLS. */
  broker: AmqpBrokerOptions | undefined;
  readonly #path: string;

  private constructor(
    path: string,
    placement: PrivatePlacement,
    rabbitmq: PrivateRabbitmq,
    client: RpcClient,
  ) {
    this.#path = path;
    this.placement = placement;
    this.rabbitmq = rabbitmq;
    this.client = client;
  }

  /** `tls` as {@link PrivateRabbitmq.start} takes it. */
  static async open(tls?: TlsFiles): Promise<FaultBench> {
    const undo = new Undo();
    onTestFinished(async () => {
      expect(await undo.run()).toEqual([]);
    });
    const path = mkdtempSync(join(tmpdir(), 'node-compute-faults-'));
    undo.add('directory', () => rmSync(path, { recursive: true }));
    const within = (name: string): string => {
      mkdirSync(join(path, name));
      return join(path, name);
    };
    const placement = await PrivatePlacement.start(within('placement'));
    undo.add('placement', () => placement.stop());
    const rabbitmq = await PrivateRabbitmq.start(within('rabbitmq'), tls ? { tls } : {});
    undo.add('rabbitmq', () => rabbitmq.stop());
    const broker = new AmqpBroker({ url: rabbitmq.url });
    undo.add('broker', () => broker.close());
    const client = await RpcClient.open(broker, { context: ownContext() });
    undo.add('client', () => client.close());
    const bench = new FaultBench(path, placement, rabbitmq, client);
    await bench.conductor.open(broker, within('conductor'));
    undo.add('conductor', () => bench.conductor.close());
    within('node');
    return bench;
  }

  async agent(signal?: AbortSignal): Promise<ComputeAgent> {
    const { hypervisor, faults, lines } = this;
    const write = (text: string, fields?: object): number =>
      lines.push(`${text} ${inspect(fields, { depth: 10 })}`);
    const options: ComputeAgentOptions = {
      broker: this.broker ?? { url: this.rabbitmq.url },
      placement: {
        endpoint: this.placement.url,
        auth: { type: 'token', token: PLACEMENT_TOKEN },
      },
      host: HOST,
      logger: { debug: write, info: write, warn: write, error: write },
      node: {
        driver: 'fake.FakeDriver',
        driverOptions: { hypervisor, faults },
        instancesPath: join(this.#path, 'node', 'instances'),
      },
    };
    const agent = await ComputeAgent.open(options, signal ? { signal } : {});
    onTestFinished(() => agent.close({ graceMs: 0 }));
    return agent;
  }

  /** As the API has left it in the database. */
  store(instance: NovaObject): NovaObject {
    const stored = decodeValue(encodeValue(instance)) as NovaObject;
    this.conductor.instances.set(String(instance.get('uuid')), stored);
    return stored;
  }

  async cast({ method, args }: Sent, context = ownContext()): Promise<void> {
    await this.client.cast({ topic: 'compute', server: HOST, version: '6.0' }, method, args, { context });
  }

  /** Sends it and waits for the end of it. */
  async replay(operation: string, event: string): Promise<void> {
    const sent = request(operation);
    this.store(sent.args.instance);
    await this.cast(sent);
    await this.ended(event);
  }

  async ended(event: string): Promise<void> {
    await vi.waitFor(() => expect(this.conductor.finished(event)).toHaveLength(1), WAIT);
  }

  /** A server that an agent has built. */
  async build(agent: ComputeAgent): Promise<void> {
    await this.allocate(agent);
    await this.replay('boot-warm', BUILD);
    expect(this.states()).toEqual(['active', null, HOST]);
  }

  /** vm_state, task_state, host. */
  states(): unknown[] {
    return ['vm_state', 'task_state', 'host'].map((name) => this.conductor.instance(UUID).get(name));
  }

  get faultsTold(): unknown[] {
    const told = this.conductor.written.filter(({ object }) => object === 'InstanceFault');
    return told.map(({ fields }) => fields['message']);
  }

  /** As it stands in the journal after `tries` processes died while it was under way. */
  async leave({ method, args }: Sent, tries: number): Promise<void> {
    const journal = await FileCommandJournal.open(join(this.#path, 'node', 'commands'));
    const body = encodeRequest({
      method,
      namespace: undefined,
      version: '6.0',
      args: encodeValue(args) as Record<string, unknown>,
      context: ownContext(),
      uniqueId: 'left',
      answerTo: undefined,
    });
    await journal.record('left', body);
    for (let count = 0; count < tries; count++) await journal.begin('left');
  }

  /** Stops Placement; what is returned starts it again with what it had. */
  async withoutPlacement(): Promise<() => Promise<void>> {
    const port = Number(new URL(this.placement.url).port);
    await this.placement.stop();
    return async () => {
      const placement = await PrivatePlacement.start(join(this.#path, 'placement'), port);
      onTestFinished(() => placement.stop());
      this.placement = placement;
    };
  }

  /** How many commands there are in a folder of the journal. */
  journaled(folder: 'commands' | 'finished' | 'set-aside'): number {
    return readdirSync(join(this.#path, 'node', 'commands', folder)).length;
  }

  /** As the scheduler does before it sends a server to a host. */
  async allocate({ reporter }: ComputeAgent): Promise<void> {
    await vi.waitFor(
      () => expect(reporter.sinks.map(({ sequence }) => sequence)).not.toContain(undefined),
      WAIT,
    );
    await this.placement.call('PUT', `/allocations/${UUID}`, {
      allocations: { [reporter.report.nodeUuid]: { resources: { VCPU: 1, MEMORY_MB: 64, DISK_GB: 1 } } },
      project_id: 'demo',
      user_id: 'admin',
      consumer_generation: null,
      consumer_type: 'INSTANCE',
    });
  }

  /** Providers that hold something for the server. */
  async allocations(): Promise<number> {
    const answer = (await this.placement.call('GET', `/allocations/${UUID}`)) as { allocations: object };
    return Object.keys(answer.allocations).length;
  }
}
