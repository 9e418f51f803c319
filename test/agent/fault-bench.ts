// A control plane, and an agent on it that can be closed, opened again, and made to fail: for tests of faults.
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, vi } from 'vitest';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import type { ComputeAgentOptions } from '../../src/agent/agent-options.js';
import type { AmqpBrokerOptions } from '../../src/agent/amqp-broker.js';
import type { CinderOptions } from '../../src/agent/cinder/cinder.js';
import { ownContext } from '../../src/agent/context.js';
import type { NovaObject } from '../../src/agent/nova-object.js';
import type { RpcClient } from '../../src/agent/rpc-client.js';
import { ComputeAgent, FakeHypervisor, Faults } from '../../src/index.js';
import { allocate, allocations } from './allocations.js';
import type { TlsFiles } from './certificates.js';
import { type ControlPlane, controlPlane } from './control-plane.js';
import type { FakeConductor } from './fake-conductor.js';
import { BUILD, copyOf, HOST, leave, request, type Sent, TARGET, UUID, WAIT } from './sent.js';

/** Without Keystone any is good, and of an administrator that begins so. */
export const PLACEMENT_TOKEN = 'admin:of-placement-s3cret';

/** Why there can be none on this machine. */
export const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle();

/** What the tests of a file have in common. */
export class FaultServices {
  readonly rabbitmq: PrivateRabbitmq;
  placement: PrivatePlacement;
  readonly #path: string;

  /** `tls` as {@link PrivateRabbitmq.start} takes it. */
  static async start(tls?: TlsFiles): Promise<FaultServices> {
    const path = mkdtempSync(join(tmpdir(), 'node-compute-services-'));
    for (const name of ['placement', 'rabbitmq']) mkdirSync(join(path, name));
    const placement = await PrivatePlacement.start(join(path, 'placement'));
    const rabbitmq = await PrivateRabbitmq.start(join(path, 'rabbitmq'), tls ? { tls } : {});
    return new FaultServices(path, placement, rabbitmq);
  }

  private constructor(path: string, placement: PrivatePlacement, rabbitmq: PrivateRabbitmq) {
    this.#path = path;
    this.placement = placement;
    this.rabbitmq = rabbitmq;
  }

  /** Stops Placement; what is returned starts it again with what it had. */
  async withoutPlacement(): Promise<() => Promise<void>> {
    const port = Number(new URL(this.placement.url).port);
    await this.placement.stop();
    return async () => {
      this.placement = await PrivatePlacement.start(join(this.#path, 'placement'), port);
    };
  }

  async stop(): Promise<void> {
    await this.rabbitmq.stop();
    await this.placement.stop();
    rmSync(this.#path, { recursive: true });
  }
}

/** For the tests of a file, which are left out where there can be none. */
export function faultServices(): () => FaultServices {
  let services: FaultServices;
  beforeAll(async () => {
    if (!obstacle) services = await FaultServices.start();
  });
  beforeEach(({ skip }) => skip(obstacle !== undefined, obstacle));
  afterAll(() => services?.stop());
  return () => services;
}

/** All of it ends with the test. */
export class FaultBench {
  readonly conductor: FakeConductor;
  readonly hypervisor: FakeHypervisor;
  readonly faults = new Faults();
  readonly client: RpcClient;
  /** Lines of the agents' logs, of every level, with their fields. */
  readonly lines: string[] = [];
  /** The broker's, instead of the one without TLS. */
  broker: AmqpBrokerOptions | undefined;
  volume: CinderOptions | undefined;
  /** Of the next agent. */
  outageTimeoutMs = 600_000;
  readonly #path: string;
  readonly #services: FaultServices;

  private constructor(path: string, services: FaultServices, { conductor, client }: ControlPlane) {
    // Placement has one provider of a name.
    const hostname = `host-${basename(path)}`;
    this.hypervisor = new FakeHypervisor({ hostname, vcpus: 4, memoryMb: 4096, localGb: 50 });
    this.#path = path;
    this.#services = services;
    this.conductor = conductor;
    this.client = client;
  }

  static async open(services: FaultServices): Promise<FaultBench> {
    const path = mkdtempSync(join(tmpdir(), 'node-compute-faults-'));
    onTestFinished(() => rmSync(path, { recursive: true }));
    for (const name of ['conductor', 'node']) mkdirSync(join(path, name));
    const plane = await controlPlane(services.rabbitmq.url, join(path, 'conductor'));
    return new FaultBench(path, services, plane);
  }

  async agent(signal?: AbortSignal): Promise<ComputeAgent> {
    const { hypervisor, faults, lines } = this;
    const write = (text: string, fields?: object): number =>
      lines.push(`${text} ${inspect(fields, { depth: 10 })}`);
    const options: ComputeAgentOptions = {
      broker: this.broker ?? { url: this.#services.rabbitmq.url },
      placement: {
        endpoint: this.#services.placement.url,
        auth: { type: 'token', token: PLACEMENT_TOKEN },
      },
      ...(this.volume && { volume: this.volume }),
      host: HOST,
      hostIp: '192.0.2.7',
      outageTimeoutMs: this.outageTimeoutMs,
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
    const stored = copyOf(instance);
    this.conductor.instances.set(String(instance.get('uuid')), stored);
    return stored;
  }

  async cast({ method, args }: Sent, context = ownContext()): Promise<void> {
    await this.client.cast(TARGET, method, args, { context });
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
  leave(sent: Sent, tries: number): Promise<void> {
    return leave(join(this.#path, 'node', 'commands'), sent, 'left', tries);
  }

  /** How many commands there are in a folder of the journal. */
  journaled(folder: 'commands' | 'finished' | 'set-aside'): number {
    return readdirSync(join(this.#path, 'node', 'commands', folder)).length;
  }

  /** As the scheduler does before it sends a server to a host. */
  allocate(agent: ComputeAgent): Promise<void> {
    return allocate(this.#services.placement, agent, UUID);
  }

  /** Providers that hold something for the server. */
  async allocations(): Promise<number> {
    return Object.keys(await allocations(this.#services.placement, UUID)).length;
  }
}
