// Where VNC, SPICE and serial clients of a running domain connect to, by its live definition; and its screen.
import type { ConsoleEndpoint, Screenshot } from '../driver/console.js';
import { ComputeError } from '../driver/errors.js';
import type { CallContext, Hypervisor } from './hypervisor.js';
import { wrongState } from './instance-call.js';
import { attributesOf, devicesOf } from './live-definition.js';
import { powerState } from './states.js';

/** A picture of 4096 x 4096 points has 48 MiB. */
const SCREENSHOT_MAX_BYTES = 64 << 20;

/** Rejects with `INVALID_STATE` where it does not run, `UNSUPPORTED` where it has no such console. */
export async function consoleEndpoint(
  hypervisor: Hypervisor,
  uuid: string,
  type: ConsoleEndpoint['type'],
  context: CallContext,
): Promise<ConsoleEndpoint> {
  const domain = await hypervisor.domain(uuid, context);
  const info = await hypervisor.onDomain(domain, context, (d, id) => d.info(id));
  const state = powerState(info.state, info.saved);
  if (state !== 'running' && state !== 'paused') throw wrongState(context, state);
  const xml = await hypervisor.onDomain(domain, context, (d, id) => d.xml(0, id));
  const endpoint = endpointOf(xml, type);
  if (endpoint) return endpoint;
  throw new ComputeError('UNSUPPORTED', `${context.operation}: instance ${uuid} has no ${type} console`, {
    operation: context.operation,
    instanceUuid: uuid,
    details: { type },
  });
}

/** Undefined where the running domain has none of that type that listens on TCP. */
export function endpointOf(xml: string, type: ConsoleEndpoint['type']): ConsoleEndpoint | undefined {
  const devices = devicesOf(xml);
  if (type === 'serial') {
    const [, body = ''] = /<serial type=['"]tcp['"][^>]*>(.*?)<\/serial>/s.exec(devices) ?? [];
    const source = attributesOf(/<source [^>]*mode=['"]bind['"][^>]*>/.exec(body)?.[0] ?? '');
    return made(type, source.get('host'), source.get('service'));
  }
  for (const [tag] of devices.matchAll(/<graphics [^>]*>/g)) {
    const graphics = attributesOf(tag);
    if (graphics.get('type') !== type) continue;
    const tlsPort = Number(graphics.get('tlsPort') ?? -1);
    const endpoint = made(type, graphics.get('listen'), graphics.get('port'));
    return endpoint && tlsPort > 0 ? { ...endpoint, tlsPort } : endpoint;
  }
  return undefined;
}

function made(
  type: ConsoleEndpoint['type'],
  host = '127.0.0.1',
  port: string | undefined,
): ConsoleEndpoint | undefined {
  const number = Number(port ?? -1);
  return Number.isInteger(number) && number > 0 ? { type, host, port: number } : undefined;
}

/** virDomainScreenshot. */
export async function screenshot(
  hypervisor: Hypervisor,
  uuid: string,
  context: CallContext,
): Promise<Screenshot> {
  const domain = await hypervisor.domain(uuid, context);
  return await hypervisor.onDomain(domain, context, (d, id) => d.screenshot(0, SCREENSHOT_MAX_BYTES, id));
}
