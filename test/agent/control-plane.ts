// The other side of an agent: a conductor in memory, and who sends commands, on a real broker. They end with the test.
import { onTestFinished } from 'vitest';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { ownContext } from '../../src/agent/context.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { FakeConductor } from './fake-conductor.js';

export interface ControlPlane {
  readonly conductor: FakeConductor;
  readonly client: RpcClient;
}

export async function controlPlane(brokerUrl: string, journalPath: string): Promise<ControlPlane> {
  const broker = new AmqpBroker({ url: brokerUrl });
  onTestFinished(() => broker.close());
  const conductor = new FakeConductor();
  await conductor.open(broker, journalPath);
  onTestFinished(() => conductor.close());
  const client = await RpcClient.open(broker, { context: ownContext() });
  onTestFinished(() => client.close());
  return { conductor, client };
}
