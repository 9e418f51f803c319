// Commands of Nova's that this host does not have: the user reads so, and the server is free for the next one.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { instanceCommand } from './instance-command.js';
import type { RpcMethod } from './rpc-endpoint.js';

/** Casts that leave a server with a task until somebody ends it. Calls are answered `NoSuchMethod` by the server itself. */
const METHODS: readonly string[] = [
  'finish_resize',
  'finish_revert_resize',
  'live_migration',
  'resize_instance',
];

export function unsupportedCommands(host: ComputeHost): Record<string, RpcMethod> {
  const methods = METHODS.map((method): [string, RpcMethod] => [
    method,
    instanceCommand(host, {
      event: `compute_${method}`,
      pending: [],
      run: async ({ uuid }) => {
        throw new ComputeError('UNSUPPORTED', `host ${host.name} does not support ${method}`, {
          operation: method,
          instanceUuid: uuid,
        });
      },
    }),
  ]);
  return Object.fromEntries(methods);
}
