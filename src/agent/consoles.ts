// A user's way to a guest's screen: a token by which a novncproxy of the cloud finds it.
import { ComputeError } from '../driver/errors.js';
import type { VncOptions } from './agent-options.js';
import type { ComputeHost } from './compute-host.js';
import { unacceptable } from './errors.js';
import { type InstanceRecord, instanceOf, reasonOf, uuidOf } from './instance-record.js';
import { novaFailure } from './nova-failure.js';
import type { NovaObject } from './nova-object.js';
import { persist } from './persist.js';
import type { RpcInvocation, RpcMethod } from './rpc-endpoint.js';

/** Nova's [consoleauth] token_ttl. */
const TOKEN_SECONDS = 600;
/** Nova's [vnc] server_proxyclient_address. */
const PROXY_CLIENT = '127.0.0.1';

/** Nova's word for VNC by its novncproxy. */
const NOVNC = 'novnc';

/** By the names of Nova's RPC. Without `vnc` there is no console for users, as where Nova's are disabled. */
export function consoles(host: ComputeHost, vnc: VncOptions | undefined): Record<string, RpcMethod> {
  const unavailable: RpcMethod = ({ console_type: type }) => {
    throw noConsole(type);
  };
  return {
    get_vnc_console: vnc ? vncConsole(host, vnc) : unavailable,
    get_spice_console: unavailable,
    get_rdp_console: unavailable,
    get_mks_console: unavailable,
    get_serial_console: unavailable,
    validate_console_port: async ({ instance, port, console_type: type }, { signal }) => {
      if (type !== NOVNC) return false;
      const uuid = uuidOf(instanceOf(instance));
      try {
        const { port: actual } = await host.node.guests.consoleEndpoint(uuid, 'vnc', { signal });
        return String(actual) === port;
      } catch (error) {
        signal.throwIfAborted();
        host.log.info(`no console of ${uuid} for a proxy: ${reasonOf(error)}`, { instanceUuid: uuid });
        return false;
      }
    },
  };
}

/** Nova's ComputeManager.get_vnc_console. Of the token a hash is stored; it is in no log. */
function vncConsole(host: ComputeHost, vnc: VncOptions): RpcMethod {
  const { conductor, node } = host;
  const { novncProxyBaseUrl: base, proxyClientAddress = PROXY_CLIENT, tokenTtlSeconds = TOKEN_SECONDS } = vnc;
  return async ({ instance: given, console_type: type }, { context, signal }) => {
    const instance = instanceOf(given);
    const uuid = uuidOf(instance);
    if (type !== NOVNC) throw novaFailure('ConsoleTypeInvalid', { console_type: String(type) });
    const { port } = await node.guests.consoleEndpoint(uuid, 'vnc', { signal }).catch((error: unknown) => {
      throw consoleFailure(error, instance, type);
    });
    const fields = { console_type: type, host: proxyClientAddress, port, internal_access_path: null };
    const access = { instance_uuid: uuid, access_url_base: base };
    const token = conductor.newObject('ConsoleAuthToken', { ...fields, ...access });
    const secret = await conductor.action(
      token,
      'authorize',
      { args: [tokenTtlSeconds] },
      { context, signal },
    );
    if (typeof secret !== 'string') throw unacceptable('object', 'the token of a console is no text');
    await dropExpired(host, { context, signal });
    const path = encodeURIComponent(`?token=${secret}`);
    return {
      host: proxyClientAddress,
      port,
      internal_access_path: null,
      token: secret,
      access_url: `${base}?path=${path}`,
    };
  };
}

/** Of a server that is no more. One that stays is over in minutes. Nova: ConsoleAuthToken.clean_console_auths_for_instance. */
export async function dropTokens(
  { conductor, hasConsoles, signal, log }: ComputeHost,
  { uuid, call }: InstanceRecord,
): Promise<void> {
  if (!hasConsoles) return;
  try {
    await persist(signal, () =>
      conductor.classAction('ConsoleAuthToken', 'clean_console_auths_for_instance', { args: [uuid] }, call),
    );
  } catch (error) {
    signal.throwIfAborted();
    log.warn(`the tokens of consoles of ${uuid} were not removed: ${reasonOf(error)}`, {
      instanceUuid: uuid,
    });
  }
}

/** Nova does it by the clock; with every new one the table is bounded as well. */
async function dropExpired(
  { conductor, log }: ComputeHost,
  call: Pick<RpcInvocation, 'context' | 'signal'>,
): Promise<void> {
  try {
    await conductor.classAction('ConsoleAuthToken', 'clean_expired_console_auths', {}, call);
  } catch (error) {
    log.debug(`expired tokens of consoles were not removed: ${reasonOf(error)}`);
  }
}

function consoleFailure(error: unknown, instance: NovaObject, type: string): unknown {
  if (!ComputeError.is(error)) return error;
  const words = { instance_id: uuidOf(instance) };
  switch (error.code) {
    case 'UNSUPPORTED':
      return noConsole(type);
    case 'INVALID_STATE':
      return novaFailure('InstanceNotReady', words);
    case 'INSTANCE_NOT_FOUND': {
      const isComing = instance.get('vm_state') === 'building';
      return novaFailure(isComing ? 'InstanceNotReady' : 'InstanceNotFound', words);
    }
    default:
      return error;
  }
}

function noConsole(type: unknown): Error {
  return novaFailure('ConsoleTypeUnavailable', { console_type: String(type) });
}
