// Hostile messages at a steady rate, straight to the queue of a host.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Broker } from '../../src/agent/broker.js';
import { hostileMessages } from './hostile-messages.js';

const BURSTS_PER_SECOND = 10;

export interface Flood {
  readonly broker: Broker;
  readonly host: string;
  readonly messages: number;
  readonly perSecond: number;
}

/** Resolves when the broker has all of them. `onBurst` is called ten times a second. */
export async function flood(
  { broker, host, messages, perSecond }: Flood,
  onBurst: () => Promise<void> = async () => undefined,
): Promise<void> {
  const burst: Promise<unknown>[] = [];
  for (const body of hostileMessages(messages)) {
    burst.push(broker.publish({ key: `compute.${host}`, body }));
    if (burst.length < perSecond / BURSTS_PER_SECOND) continue;
    await Promise.all([...burst.splice(0), onBurst(), sleep(1000 / BURSTS_PER_SECOND)]);
  }
  await Promise.all(burst);
}
