// The service of a node, for whoever operates it: its status, and the switch that outlives the process.
import * as v from 'valibot';
import { ComputeError } from '../driver/errors.js';
import { cleanText } from '../driver/image-schema.js';
import { check } from '../driver/schema.js';
import type { ComputeService, ServiceStatus } from '../resources/compute-service.js';
import type { ServiceRecord } from './service-record.js';

const reasonText = v.pipe(cleanText(1024), v.minLength(1));

export class NodeService {
  readonly #service: ComputeService;
  readonly #record: ServiceRecord;

  constructor(service: ComputeService, record: ServiceRecord) {
    this.#service = service;
    this.#record = record;
  }

  get status(): ServiceStatus {
    return this.#service.status();
  }

  /**
   * Tells schedulers to look elsewhere, until {@link enable}, also by a later process. What it is asked to launch it
   * launches. Rejects with `INVALID_ARGUMENT` for a reason that is none.
   */
  async disable(reason: string): Promise<void> {
    if (check(reasonText, reason).problems) {
      throw new ComputeError('INVALID_ARGUMENT', 'the reason must be a text of 1 to 1024 characters', {
        operation: 'disable',
      });
    }
    await this.#record.setDisabled(reason);
    this.#service.disable(reason);
  }

  /** Forgets the launches that failed, too. Enabled already is success. */
  async enable(): Promise<void> {
    if (this.#record.disabledReason !== undefined) await this.#record.setDisabled(undefined);
    this.#service.enable();
  }
}
