// A volume as it is allowed to come in: from a caller's request, and back from a journal.
import * as v from 'valibot';
import { ComputeError } from './errors.js';
import { cleanText } from './image-schema.js';
import { check, closed, closedEntries, closedObject, integer } from './schema.js';
import type { AttachedVolume, VolumeConnection } from './volume.js';

const absolutePath = v.pipe(
  cleanText(4095),
  v.regex(/^\/(?!.*(^|\/)\.\.(\/|$))/, 'is not an absolute path without ..'),
);
/** Of a name, an address without a zone, or one in IPv6. */
const hostName = v.pipe(
  v.string(),
  v.regex(/^[A-Za-z0-9:][A-Za-z0-9.:-]{0,254}$/, 'is not the name of a host'),
);
const cephName = v.pipe(v.string(), v.regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$/, 'is not a name of Ceph'));
const port = integer(1, 65535);
/** libvirt parts rbd's and nbd's names at a slash or colon only where they are its own. */
const exportName = v.pipe(cleanText(255), v.minLength(1));

const settings = {
  serial: v.exactOptional(
    v.pipe(v.string(), v.regex(/^[A-Za-z0-9_.+-]{1,36}$/, 'must be 1 to 36 letters, digits and _ . + -')),
  ),
  cacheMode: v.exactOptional(v.picklist(['none', 'writeback', 'writethrough', 'directsync', 'unsafe'])),
  discard: v.exactOptional(v.boolean()),
  limits: v.exactOptional(
    v.pipe(
      closedObject({
        totalBytes: v.exactOptional(integer(1)),
        readBytes: v.exactOptional(integer(1)),
        writeBytes: v.exactOptional(integer(1)),
        totalIops: v.exactOptional(integer(1)),
        readIops: v.exactOptional(integer(1)),
        writeIops: v.exactOptional(integer(1)),
      }),
      v.check(
        ({ totalBytes, readBytes, writeBytes }) =>
          totalBytes === undefined || (readBytes ?? writeBytes) === undefined,
        'has a total of bytes beside one of reads or writes',
      ),
      v.check(
        ({ totalIops, readIops, writeIops }) =>
          totalIops === undefined || (readIops ?? writeIops) === undefined,
        'has a total of operations beside one of reads or writes',
      ),
    ),
  ),
  readOnly: v.exactOptional(v.boolean()),
  multiattach: v.exactOptional(v.boolean()),
};

const nbdData = v.union(
  [
    closedObject({ socket: absolutePath, export: v.exactOptional(exportName) }),
    closedObject({ host: hostName, port: v.exactOptional(port), export: v.exactOptional(exportName) }),
  ],
  'must have a socket (an absolute path), or a host and its port',
);

const rbdData = closedObject({
  pool: cephName,
  image: cephName,
  hosts: v.pipe(
    v.array(closedObject({ name: hostName, port: v.exactOptional(port) })),
    v.minLength(1),
    v.maxLength(16),
  ),
  auth: v.exactOptional(
    closedObject({
      username: cephName,
      secretUuid: v.pipe(v.string(), v.uuid('is not a UUID'), v.toLowerCase()),
    }),
  ),
});

export const volumeConnectionSchema: v.GenericSchema<unknown, VolumeConnection> = v.pipe(
  closed(
    v.variant('driverVolumeType', [
      closedEntries({
        driverVolumeType: v.literal('file'),
        data: closedObject({ path: absolutePath, format: v.picklist(['raw', 'qcow2']) }),
        ...settings,
      }),
      closedEntries({
        driverVolumeType: v.literal('block'),
        data: closedObject({ path: v.pipe(absolutePath, v.regex(/^\/dev\/./, 'is not below /dev')) }),
        ...settings,
      }),
      closedEntries({ driverVolumeType: v.literal('nbd'), data: nbdData, ...settings }),
      closedEntries({ driverVolumeType: v.literal('rbd'), data: rbdData, ...settings }),
    ]) as v.GenericSchema<object, VolumeConnection>,
  ),
  v.check(
    ({ multiattach, driverVolumeType, data }) =>
      !(multiattach && driverVolumeType === 'file' && data.format === 'qcow2'),
    'is qcow2, which two instances cannot write to at the same time',
  ),
);

/** `vdb` on the virtio bus, `sdb` on that of SCSI. */
export const deviceName: v.GenericSchema<string> = v.pipe(
  v.string(),
  v.regex(/^[sv]d[a-z]{1,2}$/, 'must be a name such as vdb, or sdb for a SCSI disk'),
);

export const attachedVolumeSchema: v.GenericSchema<unknown, AttachedVolume> = closedObject({
  connection: volumeConnectionSchema,
  device: deviceName,
});

/** Throws `INVALID_ARGUMENT` with each problem in `details.problems`. */
export function parseVolume(connection: unknown, operation: string, instanceUuid?: string): VolumeConnection {
  return parse(volumeConnectionSchema, connection, 'the volume', { operation, instanceUuid });
}

/** Throws `INVALID_ARGUMENT`. */
export function parseDevice(device: unknown, operation: string, instanceUuid?: string): string | undefined {
  if (device === undefined) return undefined;
  return parse(deviceName, device, 'the device name', { operation, instanceUuid });
}

function parse<T>(
  schema: v.GenericSchema<unknown, T>,
  input: unknown,
  what: string,
  context: { readonly operation: string; readonly instanceUuid: string | undefined },
): T {
  const checked = check(schema, input);
  if (!checked.problems) return checked.value;
  const problems = checked.problems.map(({ path, message }) => ({ path: path.join('.'), message }));
  const text = problems
    .map(({ path, message }) => (path === '' ? message : `${path}: ${message}`))
    .join('; ');
  throw new ComputeError(
    'INVALID_ARGUMENT',
    `${context.operation}: ${what} is not valid: ${text}`.slice(0, 2000),
    {
      ...context,
      details: { problems },
    },
  );
}
