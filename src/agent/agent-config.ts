// The configuration file of an agent: YAML with the names of ComputeAgentOptions, checked whole before anything begins.
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { check, closedObject, dictionary, integer } from '../driver/schema.js';
import { parseNodeOptions } from '../node/node-options.js';
import { placementTransport } from '../node/placement.js';
import type { ServiceAccess } from '../node/service-transport.js';
import type { ComputeAgentOptions } from './agent-options.js';
import { Cinder } from './cinder/cinder.js';
import { Neutron } from './neutron/neutron.js';
import { parseTransportUrl } from './transport-url.js';

export interface AgentConfig {
  readonly agent: ComputeAgentOptions;
  readonly log: { readonly level: LogLevel };
  /** Where `/healthz`, `/readyz` and `/metrics` are. */
  readonly monitor: { readonly host: string; readonly port: number };
  /** Milliseconds that commands under way are given when the agent is told to end. */
  readonly graceMs: number;
}

type LogLevel = 'debug' | 'info' | 'warn' | 'error';

const MONITOR_PORT = 9178;

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));
const absolute = v.pipe(text, v.regex(/^\//, 'is not an absolute path'));
/** Checked by those who take them. */
const options = dictionary(v.string(), v.unknown());
const milliseconds = integer(1, 1_900_000_000);

const brokerSchema = closedObject({
  url: v.pipe(text, v.check(isTransportUrl, 'is not a transport URL, rabbit://user:password@host/vhost')),
  tls: v.exactOptional(
    closedObject({
      caFile: v.exactOptional(absolute),
      certFile: v.exactOptional(absolute),
      keyFile: v.exactOptional(absolute),
      serverName: v.exactOptional(text),
      verify: v.exactOptional(v.boolean()),
    }),
  ),
  heartbeatSeconds: v.exactOptional(integer(1, 3600)),
});

const serviceEntries = {
  endpoint: v.exactOptional(text),
  auth: v.exactOptional(options as unknown as v.GenericSchema<unknown, NonNullable<ServiceAccess['auth']>>),
  region: v.exactOptional(text),
  interface: v.exactOptional(v.picklist(['public', 'internal', 'admin'])),
  caFile: v.exactOptional(absolute),
};

const placementSchema = closedObject({
  ...serviceEntries,
  traits: v.exactOptional(v.array(text)),
  aggregates: v.exactOptional(v.array(text)),
});

const vncSchema = closedObject({
  novncProxyBaseUrl: v.pipe(
    text,
    v.regex(/^https?:\/\/[^\s?#]+$/, 'is not the URL of a page without a query'),
  ),
  proxyClientAddress: v.exactOptional(v.pipe(text, v.regex(/^[\w.:-]{1,255}$/, 'is not an address'))),
  tokenTtlSeconds: v.exactOptional(integer(1, 86_400)),
});

const networkSchema = closedObject({
  ...serviceEntries,
  vifPluggingTimeoutMs: v.exactOptional(integer(0, 1_900_000_000)),
  healIntervalMs: v.exactOptional(integer(0, 1_900_000_000)),
  vifPluggingIsFatal: v.exactOptional(v.boolean()),
  ovsBridge: v.exactOptional(v.pipe(text, v.maxLength(14))),
});

const volumeSchema = closedObject({ ...serviceEntries, mountBase: v.exactOptional(absolute) });

const configSchema = closedObject({
  broker: brokerSchema,
  placement: placementSchema,
  network: v.exactOptional(networkSchema),
  volume: v.exactOptional(volumeSchema),
  images: v.exactOptional(options),
  node: v.exactOptional(options),
  host: v.exactOptional(v.pipe(text, v.regex(/^[\w.-]{1,255}$/, 'is not a host name'))),
  hostIp: v.exactOptional(v.pipe(v.string(), v.ip('is not an IP address'))),
  journalPath: v.exactOptional(absolute),
  reportIntervalMs: v.exactOptional(milliseconds),
  resourceIntervalMs: v.exactOptional(milliseconds),
  shutdownTimeoutMs: v.exactOptional(integer(0, 1_900_000_000)),
  outageTimeoutMs: v.exactOptional(integer(0, 1_900_000_000)),
  maxConcurrentBuilds: v.exactOptional(integer(1, 10_000)),
  vnc: v.exactOptional(vncSchema),
  offloadShelved: v.exactOptional(v.boolean()),
  reclaimIntervalMs: v.exactOptional(integer(0, Number.MAX_SAFE_INTEGER)),
  graceMs: v.optional(integer(0, 1_900_000_000), 30_000),
  log: v.optional(
    closedObject({ level: v.optional(v.picklist(['debug', 'info', 'warn', 'error']), 'info') }),
    {},
  ),
  monitor: v.optional(
    closedObject({
      host: v.optional(v.pipe(v.string(), v.ip('is not an IP address')), '127.0.0.1'),
      port: v.optional(integer(0, 65_535), MONITOR_PORT),
    }),
    {},
  ),
});

/**
 * Reads the file; `!file /path` stands for the text of another one, as secrets should. Rejects with `INVALID_ARGUMENT`, which
 * names every problem and repeats no value, and `SYSTEM` where a file cannot be read.
 */
export async function readAgentConfig(path: string): Promise<AgentConfig> {
  const checked = check(configSchema, await parse(path, await read(path)));
  if (checked.problems) {
    const problems = checked.problems.map(({ path: at, message }) => `${at.join('.') || 'it'}: ${message}`);
    throw invalid(path, problems.join('; '));
  }
  const { images, node, broker, log, monitor, graceMs, ...rest } = checked.value;
  const { tls, ...connection } = broker;
  const driverOptions = { ...(node?.['driverOptions'] as object | undefined), ...(images && { images }) };
  // They check them, and begin nothing.
  parseNodeOptions({ ...node, driverOptions });
  await placementTransport(rest.placement).close();
  if (rest.network) await new Neutron(rest.network, AbortSignal.abort()).close();
  if (rest.volume) await new Cinder(rest.volume, AbortSignal.abort()).close();
  const agent: ComputeAgentOptions = {
    ...rest,
    broker: { ...connection, ...(tls && { tls: await certificates(tls) }) },
    node: { ...node, driverOptions },
  };
  return { agent, log, monitor, graceMs };
}

async function parse(path: string, source: string): Promise<unknown> {
  const { parseDocument } = await import('yaml');
  let failure: unknown;
  const resolve = (name: string): string => {
    try {
      return readFileSync(name, 'utf8').trimEnd();
    } catch (error) {
      failure ??= error;
      return '';
    }
  };
  // Its own messages show the lines: there may be a secret in them.
  const document = parseDocument(source, { customTags: [{ tag: '!file', resolve }], prettyErrors: false });
  if (failure !== undefined) throw unreadable(path, failure);
  const [error] = document.errors;
  if (error) {
    const line = source.slice(0, error.pos[0]).split('\n').length;
    throw invalid(path, `line ${line} is not YAML (${error.code})`);
  }
  return document.toJS({ maxAliasCount: 100 });
}

async function certificates(tls: {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly serverName?: string;
  readonly verify?: boolean;
}): Promise<NonNullable<ComputeAgentOptions['broker']['tls']>> {
  const { caFile, certFile, keyFile, ...rest } = tls;
  return {
    ...rest,
    ...(caFile !== undefined && { ca: await read(caFile) }),
    ...(certFile !== undefined && { cert: await read(certFile) }),
    ...(keyFile !== undefined && { key: await read(keyFile) }),
  };
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

function isTransportUrl(url: string): boolean {
  try {
    parseTransportUrl(url);
    return true;
  } catch {
    return false;
  }
}

function invalid(path: string, why: string): ComputeError {
  return new ComputeError('INVALID_ARGUMENT', `the configuration ${path}: ${why}`, {
    operation: 'configure',
  });
}

function unreadable(path: string, cause: unknown): ComputeError {
  const { message, path: file } = cause as NodeJS.ErrnoException;
  return new ComputeError('SYSTEM', `the configuration ${path} cannot be read: ${message}`, {
    operation: 'configure',
    cause,
    details: { path: file ?? path },
  });
}
