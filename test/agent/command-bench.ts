// A control plane, an agent on it, and servers that it has already: for tests of single commands and calls.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import { PrivatePlacement } from '../../scripts/private-placement.mjs';
import { PrivateRabbitmq } from '../../scripts/private-rabbitmq.mjs';
import type { ComputeAgentOptions } from '../../src/agent/agent-options.js';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { ownContext } from '../../src/agent/context.js';
import type { NovaObject } from '../../src/agent/nova-object.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { Undo } from '../../src/driver/undo.js';
import { ComputeAgent, FakeHypervisor, type LaunchRequest } from '../../src/index.js';
import { FakeConductor } from './fake-conductor.js';
import { copyOf, HOST, request, TARGET, WAIT } from './sent.js';

type Fields = Readonly<Record<string, unknown>>;

/** That the servers of the bench were made of. */
export const IMAGE = '11111111-2222-4333-8444-555555555555';

export interface CommandBench {
  readonly agent: ComputeAgent;
  readonly conductor: FakeConductor;
  readonly hypervisor: FakeHypervisor;
  readonly instancesPath: string;
  /** One that runs here, with these fields in Nova's record, as the API sends it with a command. */
  server(uuid: string, fields?: Fields, launch?: Partial<LaunchRequest>): Promise<NovaObject>;
  /** A cast; resolves when the conductor has heard of its end. */
  cast(method: string, args: Fields & { readonly instance: NovaObject }, event?: string): Promise<void>;
  call(method: string, args: Fields): Promise<unknown>;
  close(): Promise<void>;
}

/** Why there can be none on this machine. */
export const obstacle = PrivateRabbitmq.obstacle() ?? PrivatePlacement.obstacle();

/** `driverOptions` are those of the fake driver, and `images`; `options.node.driver` is a subclass of it. */
export async function commandBench(
  options: Partial<ComputeAgentOptions> = {},
  driverOptions: Fields = {},
): Promise<CommandBench> {
  const undo = new Undo();
  try {
    return await open(undo, options, driverOptions);
  } catch (error) {
    await undo.run();
    throw error;
  }
}

async function open(
  undo: Undo,
  options: Partial<ComputeAgentOptions>,
  driverOptions: Fields,
): Promise<CommandBench> {
  const directory = mkdtempSync(join(tmpdir(), 'node-compute-agent-'));
  undo.add('directory', () => rmSync(directory, { recursive: true }));
  const within = (name: string): string => {
    mkdirSync(join(directory, name));
    return join(directory, name);
  };
  const placement = await PrivatePlacement.start(within('placement'));
  undo.add('placement', () => placement.stop());
  const rabbitmq = await PrivateRabbitmq.start(within('rabbitmq'));
  undo.add('rabbitmq', () => rabbitmq.stop());
  const broker = new AmqpBroker({ url: rabbitmq.url });
  undo.add('broker', () => broker.close());
  const conductor = new FakeConductor();
  await conductor.open(broker, within('conductor'));
  undo.add('conductor', () => conductor.close());
  const client = await RpcClient.open(broker, { context: ownContext() });
  undo.add('client', () => client.close());
  const hypervisor = new FakeHypervisor({ hostname: 'host', vcpus: 64, memoryMb: 65_536, localGb: 500 });
  const instancesPath = join(within('node'), 'instances');
  const agent = await ComputeAgent.open({
    broker: { url: rabbitmq.url },
    placement: { endpoint: placement.url, auth: { type: 'token', token: placement.token } },
    host: HOST,
    ...options,
    node: {
      driver: options.node?.driver ?? 'fake.FakeDriver',
      driverOptions: { hypervisor, files: true, ...driverOptions },
      instancesPath,
    },
  });
  undo.add('agent', () => agent.close());
  const bench: CommandBench = {
    agent,
    conductor,
    hypervisor,
    instancesPath,
    async server(uuid, fields = {}, launch = {}) {
      await agent.node.launch({
        uuid,
        name: 'server',
        flavor: { vcpus: 1, memoryMb: 64, rootGb: 1 },
        image: { id: IMAGE, diskFormat: 'qcow2', source: { type: 'glance' } },
        ...launch,
      });
      // With the fields that the API sends with most commands.
      const { instance } = request('stop').args;
      for (const [field, value] of Object.entries({ uuid, task_state: null, ...fields })) {
        instance.set(field, value);
      }
      conductor.instances.set(uuid, copyOf(instance));
      return instance;
    },
    async cast(method, args, event = `compute_${method}`) {
      const uuid = String(args.instance.get('uuid'));
      const ended = (): number =>
        conductor.finished(event).filter(({ instanceUuid }) => instanceUuid === uuid).length;
      const before = ended();
      await client.cast(TARGET, method, args);
      await vi.waitFor(() => expect(ended()).toBe(before + 1), WAIT);
    },
    call: (method, args) => client.call(TARGET, method, args),
    async close() {
      expect(await undo.run()).toEqual([]);
    },
  };
  return bench;
}
