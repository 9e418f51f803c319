// What a launch request wants on the config drive, checked, its base64 decoded.
import * as v from 'valibot';
import type { ConfigDriveContent, ConfigDriveFormat } from '../driver/config-drive.js';
import { cleanText, nameText, properties } from '../driver/image-schema.js';
import { closedObject } from '../driver/schema.js';
import { configDriveFormat } from './instance-schema.js';

/** Nova's MAX_USERDATA_SIZE, of the base64 text. */
const MAX_USER_DATA = 65_535;
/** 64 KiB each, 16 of them: Nova's quota is 10 KiB and 5. All are decoded and copied in one go of the event loop. */
const MAX_FILE_TEXT = 87_384;
const MAX_FILES = 16;
const MAX_KEYS = 16;

/** As it is written into a request: padded, lines may be broken. */
function base64(max: number): v.GenericSchema<unknown, Uint8Array> {
  return v.pipe(
    v.string(),
    v.maxLength(max),
    v.transform((text) => text.replace(/[\r\n]/g, '')),
    v.check((text) => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text), 'is not base64'),
    v.transform((text) => Buffer.from(text, 'base64')),
  );
}

const hostname = v.pipe(
  v.string(),
  v.maxLength(255),
  v.regex(
    /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/,
    'is not a host name: labels of 1 to 63 letters, digits and hyphens, with dots between them',
  ),
);

const fileSchema = closedObject({
  path: v.pipe(cleanText(255), v.regex(/^\/./, 'is not an absolute path')),
  contents: base64(MAX_FILE_TEXT),
});

const keySchema = closedObject({
  name: nameText,
  publicKey: v.pipe(cleanText(16_384), v.minLength(1)),
});

/** A name can be there once: a guest would take one of the two. */
function distinct<T, K extends keyof T>(key: K): v.CheckAction<T[], string> {
  return v.check(
    (items) => new Set(items.map((item) => item[key])).size === items.length,
    `has the same ${String(key)} twice`,
  );
}

const drive = v.exactOptional;

export const configDriveSchema: v.GenericSchema<unknown, ConfigDriveWish> = v.pipe(
  closedObject({
    format: drive(configDriveFormat),
    hostname: drive(hostname),
    availabilityZone: drive(nameText),
    metadata: drive(properties(255)),
    userData: drive(base64(MAX_USER_DATA)),
    keys: drive(v.pipe(v.array(keySchema), v.maxLength(MAX_KEYS), distinct('name'))),
    files: drive(v.pipe(v.array(fileSchema), v.maxLength(MAX_FILES), distinct('path'))),
    adminPassword: drive(v.pipe(cleanText(255), v.minLength(1))),
  }),
  v.check(
    ({ format, files = [], adminPassword }) =>
      format !== 'nocloud' || (files.length === 0 && adminPassword === undefined),
    'of format nocloud has no place for files and adminPassword; write them as cloud-config into userData',
  ),
  v.transform(({ format = 'openstack', ...content }) => ({ format, content })),
);

export interface ConfigDriveWish {
  readonly format: ConfigDriveFormat;
  readonly content: ConfigDriveContent;
}
