// Makes the connections of an HTTP client. Imported with the first request: undici takes 17 MB of memory.
import { readFile } from 'node:fs/promises';
import { Agent } from 'undici';
import { ComputeError } from '../driver/errors.js';
import type { HttpSourceOptions } from './types.js';

export { request } from 'undici';

/** Rejects with `INVALID_ARGUMENT` where the CA file cannot be read. */
export async function makeAgent(options: HttpSourceOptions): Promise<Agent> {
  const { headersTimeoutMs = 30_000, idleTimeoutMs = 30_000, caFile } = options;
  const ca = caFile === undefined ? undefined : await readAuthorities(caFile);
  return new Agent({
    headersTimeout: headersTimeoutMs,
    bodyTimeout: idleTimeoutMs,
    // Said aloud, so that NODE_TLS_REJECT_UNAUTHORIZED does not switch it off.
    connect: { timeout: headersTimeoutMs, rejectUnauthorized: true, ...(ca && { ca }) },
  });
}

async function readAuthorities(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new ComputeError('INVALID_ARGUMENT', `the CA file ${path} cannot be read`, { cause });
  }
}
