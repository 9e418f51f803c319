// What a server serves: methods by name, namespace and version, and who of them a request is for.
import type { RpcContext, RpcRequest } from './envelope.js';
import { RpcFailure } from './errors.js';

export interface RpcInvocation {
  readonly method: string;
  readonly context: RpcContext;
  readonly uniqueId: string;
  /** Fires when the server closes; for a command, what it has not finished then is done again at the next start. */
  readonly signal: AbortSignal;
  /** A command that an earlier process has recorded: it may have done some of it, or all. */
  readonly isRepeated: boolean;
}

/** Objects among the arguments are NovaObjects, and may be in the result. An {@link RpcFailure} reaches the caller as it is. */
export interface RpcMethod {
  (args: Readonly<Record<string, unknown>>, invocation: RpcInvocation): unknown;
  /**
   * In place of a further try, once, of a command that was under way in too many processes that died: tells whom it concerns. It
   * must do as little as it can of what may have killed them.
   */
  readonly abandon?: (args: Readonly<Record<string, unknown>>, invocation: RpcInvocation) => Promise<void>;
  /** In place of the method, where an argument is not of its type: tells whom it concerns. Nothing else of them may be trusted either. */
  readonly refuse?: (
    args: Readonly<Record<string, unknown>>,
    invocation: RpcInvocation,
    error: unknown,
  ) => Promise<void>;
}

export interface RpcEndpoint {
  readonly namespace?: string;
  /** Newest that it serves: any minor version up to this one, of this major version. */
  readonly version: string;
  readonly methods: Readonly<Record<string, RpcMethod>>;
  /** Methods that are commands even where somebody calls them: journaled, in their line, and answered when they are done. */
  readonly commands?: Readonly<Record<string, RpcMethod>>;
}

export interface ServedMethod {
  readonly run: RpcMethod;
  readonly isCommand: boolean;
}

const DISPATCHER = 'oslo_messaging.rpc.dispatcher';

/** Throws an RpcFailure, `UnsupportedVersion` or `NoSuchMethod`, that the caller's oslo.messaging knows. */
export function findMethod(endpoints: readonly RpcEndpoint[], request: RpcRequest): ServedMethod {
  const { method, namespace, version, answerTo } = request;
  const compatible = endpoints.filter(
    (endpoint) => endpoint.namespace === namespace && isCompatible(endpoint.version, version),
  );
  for (const { methods, commands = {} } of compatible) {
    if (Object.hasOwn(commands, method)) return { run: commands[method] as RpcMethod, isCommand: true };
    if (Object.hasOwn(methods, method))
      return { run: methods[method] as RpcMethod, isCommand: answerTo === undefined };
  }
  if (compatible.length > 0) {
    throw new RpcFailure({
      class: 'NoSuchMethod',
      module: DISPATCHER,
      message: `Endpoint does not support RPC method ${method}`,
    });
  }
  throw new RpcFailure({
    class: 'UnsupportedVersion',
    module: DISPATCHER,
    message: `Endpoint does not support RPC version ${version}. Attempted method: ${method}`,
  });
}

function isCompatible(offered: string, asked: string): boolean {
  const [major = NaN, minor = NaN] = offered.split('.').map(Number);
  const [, askedMajor, askedMinor] = /^(\d{1,9})\.(\d{1,9})$/.exec(asked) ?? [];
  return Number(askedMajor) === major && Number(askedMinor) <= minor;
}

/** What every service of Nova answers, so that others see that it is there. */
export function pingEndpoint(service: string): RpcEndpoint {
  return {
    namespace: 'baseapi',
    version: '1.1',
    methods: { ping: ({ arg }) => ({ service, arg: arg ?? null }) },
  };
}
