// What Cinder answers, as far as a compute host reads it.
import * as v from 'valibot';
import { integer } from '../../driver/schema.js';

export interface Volume {
  readonly id: string;
  /** GiB. */
  readonly size: number;
  readonly multiattach?: boolean | null | undefined;
  readonly encrypted?: boolean | null | undefined;
  /** `migrating`: Cinder itself has its data moved. */
  readonly migration_status?: string | null | undefined;
}

export interface Attachment {
  readonly id: string;
  readonly volume_id: string;
  readonly status?: string | null | undefined;
  readonly instance?: string | null | undefined;
  readonly attached_at?: string | null | undefined;
  readonly detached_at?: string | null | undefined;
  /** How a host reaches the volume; empty until Cinder knows which host. */
  readonly connection_info: Readonly<Record<string, unknown>>;
}

/** A column of Nova's database takes it as it is. */
const MOST_CONNECTION_CHARS = 60_000;

const text = v.pipe(v.string(), v.maxLength(4096));
const maybeText = v.nullish(text);

export const volumeSchema: v.GenericSchema<unknown, Volume> = v.object({
  id: text,
  size: integer(0, 2 ** 32),
  multiattach: v.nullish(v.boolean()),
  encrypted: v.nullish(v.boolean()),
  migration_status: maybeText,
});

export const attachmentSchema: v.GenericSchema<unknown, Attachment> = v.object({
  id: text,
  volume_id: text,
  status: maybeText,
  instance: maybeText,
  attached_at: maybeText,
  detached_at: maybeText,
  connection_info: v.pipe(
    v.record(v.string(), v.unknown()),
    v.check((info) => JSON.stringify(info).length <= MOST_CONNECTION_CHARS, 'is too long'),
  ),
});
