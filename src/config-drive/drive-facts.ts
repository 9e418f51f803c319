// What the documents of a config drive are made of.
import type { ConfigDriveContent } from '../driver/config-drive.js';
import type { Instance } from '../driver/model.js';

export interface DriveFacts {
  readonly instance: Instance;
  readonly content: ConfigDriveContent;
  readonly hostname: string;
  /** For the guest's pool of entropy. */
  readonly randomSeed: Uint8Array;
}
