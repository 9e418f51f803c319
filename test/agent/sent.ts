// What the stock host of the golden traces was sent, for an agent to do; and what a process that died has left of it.
import { FileCommandJournal } from '../../src/agent/command-journal.js';
import { ownContext } from '../../src/agent/context.js';
import { encodeRequest } from '../../src/agent/envelope.js';
import { decodeValue, encodeValue, type NovaObject } from '../../src/agent/nova-object.js';
import { rows } from './traces.js';

export const HOST = 'rig-compute';
const VERSION = '6.0';
export const TARGET = { topic: 'compute', server: HOST, version: VERSION };
export const WAIT = { timeout: 30_000, interval: 20 };
export const BUILD = 'compute__do_build_and_run_instance';

export type Arguments = Record<string, unknown> & { readonly instance: NovaObject };

export interface Sent {
  readonly method: string;
  readonly args: Arguments;
}

const trace = rows('libvirt');

export function request(operation: string): Sent {
  const row = trace.find((one) => one.kind === 'in' && one.operation === operation);
  return { method: String(row?.method), args: decodeValue(row?.args) as Arguments };
}

/** Of the instance in all of them. */
export const UUID = String(request('boot-warm').args.instance.get('uuid'));

/** As it comes from the wire: shares nothing with the other. */
export function copyOf(instance: NovaObject): NovaObject {
  return decodeValue(encodeValue(instance)) as NovaObject;
}

/** In that journal, after so many processes died while it was under way. */
export async function leave(
  journalPath: string,
  { method, args }: Sent,
  id: string,
  tries = 1,
): Promise<void> {
  const body = encodeRequest({
    method,
    namespace: undefined,
    version: VERSION,
    args: encodeValue(args) as Record<string, unknown>,
    context: ownContext(),
    uniqueId: id,
    answerTo: undefined,
  });
  const journal = await FileCommandJournal.open(journalPath);
  await journal.record(id, body);
  for (let count = 0; count < tries; count++) await journal.begin(id);
}
