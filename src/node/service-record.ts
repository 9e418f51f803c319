// What a node keeps of its service from one process to the next: the uuid it is known by, and that an operator disabled it.
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { cleanText } from '../driver/image-schema.js';
import { check } from '../driver/schema.js';
import { uuidText } from './instance-schema.js';
import type { NodeFiles } from './node-files.js';

const recordSchema = v.object({ uuid: uuidText, disabledReason: v.exactOptional(cleanText(1024)) });

/** In the file `service` below instances_path, made when there is first something to keep. */
export class ServiceRecord {
  readonly #files: NodeFiles;
  readonly #path: string;
  #stored: boolean;
  /** Nova's compute_id: providers of Placement bear it. */
  readonly uuid: string;
  #disabledReason: string | undefined;

  private constructor(
    files: NodeFiles,
    path: string,
    stored: v.InferOutput<typeof recordSchema> | undefined,
  ) {
    this.#files = files;
    this.#path = path;
    this.#stored = stored !== undefined;
    this.uuid = stored?.uuid ?? randomUUID();
    this.#disabledReason = stored?.disabledReason;
  }

  /** Rejects with `HOST_UNSUITABLE` where the file is not ours: a new uuid in its place would be a second node to others. */
  static async open(files: NodeFiles): Promise<ServiceRecord> {
    const path = join(files.instancesPath, 'service');
    const text = await files.read(path);
    return new ServiceRecord(files, path, text === undefined ? undefined : parse(path, text));
  }

  get disabledReason(): string | undefined {
    return this.#disabledReason;
  }

  /** Stored, so that it is the same next time. */
  async keep(): Promise<string> {
    if (!this.#stored) await this.#write();
    return this.uuid;
  }

  /** Undefined: enabled. */
  async setDisabled(reason: string | undefined): Promise<void> {
    this.#disabledReason = reason;
    await this.#write();
  }

  async #write(): Promise<void> {
    const record = {
      uuid: this.uuid,
      ...(this.#disabledReason !== undefined && { disabledReason: this.#disabledReason }),
    };
    await this.#files.write(this.#path, `${JSON.stringify(record)}\n`, 'replace', true);
    this.#stored = true;
  }
}

function parse(path: string, text: string): v.InferOutput<typeof recordSchema> {
  const checked = check(recordSchema, jsonOf(text));
  if (!checked.problems) return checked.value;
  throw new ComputeError(
    'HOST_UNSUITABLE',
    `${path} is not the record of a node's service; move it away to begin a new one`,
    { operation: 'open' },
  );
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
