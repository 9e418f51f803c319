// Where log lines go when nobody says otherwise: nowhere, unless NODE_DEBUG names us.
import { debuglog } from 'node:util';
import type { Logger } from './types.js';

/** `NODE_DEBUG=node-compute` shows it on stderr. */
export function defaultLogger(): Logger {
  const log = debuglog('node-compute');
  const at =
    (level: string) =>
    (message: string, fields?: Readonly<Record<string, unknown>>): void => {
      if (log.enabled) log('%s %s %s', level, message, fields ? inspectFields(fields) : '');
    };
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

function inspectFields(fields: Readonly<Record<string, unknown>>): string {
  return JSON.stringify(fields, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
}
