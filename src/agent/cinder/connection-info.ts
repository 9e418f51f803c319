// Cinder's word of how a host reaches a volume, as a connection of ours. It is not trusted: what it may not name is refused.
import { createHash } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import * as v from 'valibot';
import { ComputeError } from '../../driver/errors.js';
import { check, type Problem } from '../../driver/schema.js';
import type { VolumeConnection, VolumeLimits, VolumeSettings } from '../../driver/volume.js';
import { volumeConnectionSchema } from '../../driver/volume-schema.js';

export interface ConnectionContext {
  readonly volumeId: string;
  readonly instanceUuid: string;
  readonly multiattach: boolean;
  readonly mountBase: string | undefined;
}

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(4096));
/** Of one directory, and not hidden in it. */
const fileName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/, 'is not the name of a file'),
);
const portText = v.union([v.string(), v.number()]);

const commonSchema = v.object({
  driver_volume_type: text,
  access_mode: v.nullish(v.picklist(['rw', 'ro'])),
  encrypted: v.nullish(v.boolean()),
  discard: v.nullish(v.boolean()),
  qos_specs: v.nullish(v.record(v.string(), v.unknown())),
});

const rbdSchema = v.object({
  name: text,
  hosts: v.pipe(v.array(text), v.maxLength(64)),
  ports: v.nullish(v.pipe(v.array(portText), v.maxLength(64))),
  auth_enabled: v.nullish(v.boolean()),
  auth_username: v.nullish(text),
  secret_uuid: v.nullish(text),
});
const localSchema = v.object({ device_path: text });
const nfsSchema = v.object({
  export: text,
  name: fileName,
  format: v.nullish(v.picklist(['raw', 'qcow2'])),
});

/**
 * Rejects with `UNSUPPORTED` for a kind of volume, or a property, that this host has not, and `CINDER_FAILED` for what is no
 * such thing. Of a file it makes sure that it stands below the mounts; what it is, the driver looks at.
 */
export async function volumeConnection(
  info: Readonly<Record<string, unknown>>,
  context: ConnectionContext,
): Promise<VolumeConnection> {
  const common = parsed(commonSchema, info, context);
  if (common.encrypted) throw unsupported('it is encrypted', context);
  const reach = await reachOf(common.driver_volume_type, info, context);
  const settings = settingsOf(common, context);
  return parsed(volumeConnectionSchema, { ...reach, ...settings }, context);
}

/** Not yet looked at: the schema of connections does. */
interface Reach {
  readonly driverVolumeType: VolumeConnection['driverVolumeType'];
  readonly data: unknown;
}

async function reachOf(
  type: string,
  info: Readonly<Record<string, unknown>>,
  context: ConnectionContext,
): Promise<Reach> {
  switch (type) {
    case 'rbd':
      return rbd(parsed(rbdSchema, info, context), context);
    case 'local':
      return { driverVolumeType: 'block', data: { path: parsed(localSchema, info, context).device_path } };
    case 'gpfs': {
      const { device_path: path } = parsed(localSchema, info, context);
      return { driverVolumeType: 'file', data: { path: await mounted(path, context), format: 'raw' } };
    }
    case 'nfs': {
      const { export: place, name, format } = parsed(nfsSchema, info, context);
      // As Nova and os-brick name the directory of a mount.
      const directory = createHash('md5').update(place).digest('hex');
      const path = await mounted(join(mountBaseOf(context), directory, name), context);
      return { driverVolumeType: 'file', data: { path, format: format ?? 'raw' } };
    }
    default:
      throw unsupported(`it is reached by ${JSON.stringify(type.slice(0, 64))}`, context);
  }
}

function rbd(
  {
    name,
    hosts,
    ports,
    auth_enabled: hasAuth,
    auth_username: username,
    secret_uuid: secretUuid,
  }: v.InferOutput<typeof rbdSchema>,
  context: ConnectionContext,
): Reach {
  const [pool, image, ...rest] = name.split('/');
  if (rest.length > 0) throw unsupported('it is in a namespace of its pool', context);
  if (hasAuth && secretUuid == null) throw unsupported('it needs a secret, and names none', context);
  const servers = hosts.map((host, index) => {
    const port = ports?.[index];
    // An address of IPv6 comes with its brackets.
    return { name: host.replace(/^\[(.*)\]$/, '$1'), ...(port !== undefined && { port: Number(port) }) };
  });
  const auth = hasAuth && { username, secretUuid };
  return { driverVolumeType: 'rbd', data: { pool, image, hosts: servers, ...(auth && { auth }) } };
}

function mountBaseOf(context: ConnectionContext): string {
  if (context.mountBase !== undefined) return context.mountBase;
  throw unsupported('it is a file, and volume.mountBase is not configured', context);
}

/** The path without links: none of them leads out of the mounts. */
async function mounted(path: string, context: ConnectionContext): Promise<string> {
  const base = mountBaseOf(context);
  let cause: unknown;
  try {
    const [real, within] = await Promise.all([realpath(path), realpath(base)]);
    if (real.startsWith(`${within}${sep}`)) return real;
  } catch (error) {
    cause = error;
  }
  throw refusal('CINDER_FAILED', `it is no file below ${base} that is mounted here`, context, cause);
}

function settingsOf(
  { access_mode: mode, discard, qos_specs: qos }: v.InferOutput<typeof commonSchema>,
  { volumeId, multiattach }: ConnectionContext,
): VolumeSettings {
  const limits = limitsOf(qos ?? {});
  return {
    serial: volumeId,
    ...(mode === 'ro' && { readOnly: true }),
    ...(discard && { discard }),
    ...(multiattach && { multiattach }),
    ...(Object.keys(limits).length > 0 && { limits }),
  };
}

const LIMITS: Readonly<Record<string, keyof VolumeLimits>> = {
  total_bytes_sec: 'totalBytes',
  read_bytes_sec: 'readBytes',
  write_bytes_sec: 'writeBytes',
  total_iops_sec: 'totalIops',
  read_iops_sec: 'readIops',
  write_iops_sec: 'writeIops',
};

/** As in Nova others are of no meaning, and 0 is no limit. */
function limitsOf(specs: Readonly<Record<string, unknown>>): VolumeLimits {
  const known = Object.entries(LIMITS).flatMap(([name, limit]) => {
    const value = Object.hasOwn(specs, name) ? Number(specs[name]) : 0;
    return value === 0 ? [] : [[limit, value]];
  });
  return Object.fromEntries(known);
}

function parsed<T>(schema: v.GenericSchema<unknown, T>, input: unknown, context: ConnectionContext): T {
  const known = check(schema, input);
  if (!known.problems) return known.value;
  throw refusal('CINDER_FAILED', `its connection is none (${known.problems.map(words).join('; ')})`, context);
}

function words({ path, message }: Problem): string {
  return `${path.join('.') || 'it'}: ${message}`;
}

function unsupported(why: string, context: ConnectionContext): ComputeError {
  return refusal('UNSUPPORTED', `${why}, which this host does not support`, context);
}

function refusal(
  code: 'UNSUPPORTED' | 'CINDER_FAILED',
  why: string,
  { volumeId, instanceUuid }: ConnectionContext,
  cause?: unknown,
): ComputeError {
  return new ComputeError(code, `volume ${volumeId} cannot be attached: ${why}`, {
    operation: 'attach_volume',
    instanceUuid,
    cause,
    details: { volumeId },
  });
}
