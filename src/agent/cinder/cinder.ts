// Cinder as a compute host asks it: attachments, and the volumes that they are of. Answers are checked, refusals typed.
import * as v from 'valibot';
import { ComputeError } from '../../driver/errors.js';
import { check } from '../../driver/schema.js';
import {
  type Service,
  type ServiceAccess,
  type ServiceAnswer,
  ServiceTransport,
} from '../../node/service-transport.js';
import { checkedAnswer, isAway } from '../service-answer.js';
import type { Connector } from './connector.js';
import { type Attachment, attachmentSchema, type Volume, volumeSchema } from './resources.js';

export interface CinderOptions extends ServiceAccess {
  /**
   * Below which the file systems of volumes are mounted, Nova's nfs_mount_point_base. Absolute. Default none: volumes that
   * are files are refused.
   */
  readonly mountBase?: string;
}

/** 3.44 is the first with attachments that are completed, and what Nova 26 asks for. */
const CINDER: Service = {
  name: 'Cinder',
  type: 'volumev3',
  failure: 'CINDER_FAILED',
  headers: { 'openstack-api-version': 'volume 3.44' },
  // Else it asks Nova whether the attachment may go, which by then has none.
  asService: true,
};

const errorSchema = v.record(v.string(), v.object({ message: v.pipe(v.string(), v.maxLength(4096)) }));

/** Cinder said no. */
export class CinderError extends ComputeError {
  override readonly name = 'CinderError';
  readonly status: number;

  constructor(what: string, answer: ServiceAnswer) {
    const { status, body } = answer;
    const known = check(errorSchema, body);
    const message = known.problems ? undefined : Object.values(known.value)[0]?.message;
    super('CINDER_FAILED', `Cinder: ${what}: ${message ?? `it answers with status ${status}`}`, {
      operation: what,
      retryable: isAway(answer),
      details: { status },
    });
    this.status = status;
  }

  static isNotFound(error: unknown): boolean {
    return error instanceof CinderError && error.status === 404;
  }
}

/** With the rights of a service. Rejections are `CINDER_FAILED`, `UNAUTHORIZED`. */
export class Cinder {
  readonly #transport: ServiceTransport;
  readonly #signal: AbortSignal;

  /** Throws `INVALID_ARGUMENT`; asks nobody yet. */
  constructor({ mountBase: _mountBase, ...access }: CinderOptions, signal: AbortSignal) {
    this.#transport = new ServiceTransport(CINDER, access);
    this.#signal = signal;
  }

  async volume(id: string): Promise<Volume> {
    const what = `show volume ${id}`;
    const body = await this.#ask(what, 'GET', `/volumes/${encodeURIComponent(id)}`);
    return checkedAnswer(CINDER, what, v.object({ volume: volumeSchema }), body).volume;
  }

  /** Gone already is success. */
  async deleteVolume(id: string): Promise<void> {
    const path = `/volumes/${encodeURIComponent(id)}`;
    await unlessNotFound(this.#ask(`delete volume ${id}`, 'DELETE', path));
  }

  /** It is being detached no more, and as it was. */
  async rollDetaching(id: string): Promise<void> {
    const path = `/volumes/${encodeURIComponent(id)}/action`;
    await this.#ask(`roll back the detaching of volume ${id}`, 'POST', path, { 'os-roll_detaching': {} });
  }

  /** Nobody moves its data to the other one. */
  async failMigration(id: string, toId: string): Promise<void> {
    const path = `/volumes/${encodeURIComponent(id)}/action`;
    const body = { 'os-migrate_volume_completion': { new_volume: toId, error: true } };
    await this.#ask(`end the migration of volume ${id}`, 'POST', path, body);
  }

  async attachment(id: string): Promise<Attachment> {
    const what = `show attachment ${id}`;
    return this.#attachmentOf(what, await this.#ask(what, 'GET', `/attachments/${encodeURIComponent(id)}`));
  }

  /** Says which host it is for; the answer has how that reaches the volume. */
  async connect(id: string, connector: Connector): Promise<Attachment> {
    const what = `update attachment ${id}`;
    const path = `/attachments/${encodeURIComponent(id)}`;
    return this.#attachmentOf(what, await this.#ask(what, 'PUT', path, { attachment: { connector } }));
  }

  /** The volume is in use from here on. */
  async complete(id: string): Promise<void> {
    const path = `/attachments/${encodeURIComponent(id)}/action`;
    await this.#ask(`complete attachment ${id}`, 'POST', path, { 'os-complete': {} });
  }

  /** Gone already is success. */
  async deleteAttachment(id: string): Promise<void> {
    const path = `/attachments/${encodeURIComponent(id)}`;
    await unlessNotFound(this.#ask(`delete attachment ${id}`, 'DELETE', path));
  }

  async close(): Promise<void> {
    await this.#transport.close();
  }

  #attachmentOf(what: string, body: unknown): Attachment {
    return checkedAnswer(CINDER, what, v.object({ attachment: attachmentSchema }), body).attachment;
  }

  async #ask(
    what: string,
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    body?: unknown,
  ): Promise<unknown> {
    const answer = await this.#transport.request({ method, path, body }, this.#signal);
    if (answer.status >= 200 && answer.status < 300) return answer.body;
    throw new CinderError(what, answer);
  }
}

async function unlessNotFound(asking: Promise<unknown>): Promise<void> {
  try {
    await asking;
  } catch (error) {
    if (!CinderError.isNotFound(error)) throw error;
  }
}
