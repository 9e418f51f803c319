// The other side of an agent: a conductor in memory, and who sends commands, on a real broker. They end with the test.
import { connect } from 'amqplib';
import { onTestFinished } from 'vitest';
import { AmqpBroker } from '../../src/agent/amqp-broker.js';
import { ownContext } from '../../src/agent/context.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { FakeConductor } from './fake-conductor.js';
import { HOST } from './sent.js';

export interface ControlPlane {
  readonly conductor: FakeConductor;
  readonly client: RpcClient;
}

export async function controlPlane(brokerUrl: string, journalPath: string): Promise<ControlPlane> {
  onTestFinished(() => deleteQueues(brokerUrl));
  const broker = new AmqpBroker({ url: brokerUrl });
  onTestFinished(() => broker.close());
  const conductor = new FakeConductor();
  await conductor.open(broker, journalPath);
  onTestFinished(() => conductor.close());
  const client = await RpcClient.open(broker, { context: ownContext() });
  onTestFinished(() => client.close());
  return { conductor, client };
}

/** The next test has a control plane of its own: what was for a conductor or a host that is gone must not wait for it. */
async function deleteQueues(brokerUrl: string): Promise<void> {
  const connection = await connect(brokerUrl.replace(/^rabbit:/, 'amqp:'));
  try {
    const channel = await connection.createChannel();
    for (const name of ['conductor', 'conductor.control', 'compute', `compute.${HOST}`]) {
      await channel.deleteQueue(name);
    }
  } finally {
    await connection.close();
  }
}
