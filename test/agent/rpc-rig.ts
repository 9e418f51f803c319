// A server of RPC on a broker in memory, and what its tests send to it.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { FileCommandJournal } from '../../src/agent/command-journal.js';
import { encodeRequest, newId, type RpcRequest } from '../../src/agent/envelope.js';
import { RpcClient } from '../../src/agent/rpc-client.js';
import { pingEndpoint, type RpcEndpoint, type RpcMethod } from '../../src/agent/rpc-endpoint.js';
import { type RpcReport, RpcServer, type RpcServerOptions } from '../../src/agent/rpc-server.js';
import { MemoryBroker } from './memory-broker.js';

export const EXCHANGE = { name: 'nova', type: 'topic' } as const;
export const context = { request_id: 'req-1', auth_token: 'sesame' };

export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), 'node-compute-rpc-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A promise, and what settles it. */
export function gate<T = void>(): { promise: Promise<T>; open: (value: T) => void } {
  let open!: (value: T) => void;
  const promise = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { promise, open };
}

/** A cast of `m`, but for what is given. */
export function message(request: Partial<RpcRequest>): Buffer {
  return encodeRequest({
    method: 'm',
    version: '6.0',
    namespace: undefined,
    args: {},
    context,
    uniqueId: newId(),
    answerTo: undefined,
    ...request,
  });
}

export interface Rig {
  readonly broker: MemoryBroker;
  readonly server: RpcServer;
  readonly reports: RpcReport[];
  readonly send: (request: Partial<RpcRequest>, key?: string) => Promise<void>;
}

export async function serve(
  methods: Readonly<Record<string, RpcMethod>>,
  options: Partial<RpcServerOptions> & { broker?: MemoryBroker; signal?: AbortSignal } = {},
): Promise<Rig> {
  const { broker = new MemoryBroker(), ...rest } = options;
  const reports: RpcReport[] = [];
  const endpoints: RpcEndpoint[] = [pingEndpoint('compute'), { version: '6.1', methods }];
  const server = await RpcServer.open(broker, {
    topic: 'compute',
    host: 'h1',
    endpoints,
    journal: options.journal ?? (await FileCommandJournal.open(scratch())),
    onReport: (report) => reports.push(report),
    ...rest,
  });
  const send = async (request: Partial<RpcRequest>, key = 'compute.h1'): Promise<void> => {
    await broker.publish({ exchange: EXCHANGE, key, body: message(request) });
  };
  return { broker, server, reports, send };
}

export const open = (broker: MemoryBroker): Promise<RpcClient> => RpcClient.open(broker, { context });
export const compute = { topic: 'compute', server: 'h1', version: '6.0' };
