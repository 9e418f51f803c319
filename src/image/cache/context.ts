// The parts of the cache that its work shares.
import type { FetchContext } from '../base-fetch.js';
import type { BaseLookup } from '../base-lookup.js';
import type { AgeingOptions } from './ageing-options.js';
import type { Stamps } from './stamps.js';
import type { Telemetry } from './telemetry.js';

export interface CacheContext extends FetchContext {
  readonly lookup: BaseLookup;
  readonly used: Stamps;
  readonly scrubbed: Stamps;
  readonly ageing: AgeingOptions;
  readonly telemetry: Telemetry;
}
