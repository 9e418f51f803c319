// Golden traces of a stock nova-compute; see README.md.
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

export type Row = Readonly<Record<string, unknown>> & {
  readonly kind: 'in' | 'in-done' | 'call' | 'cast';
  readonly operation: string;
  readonly method: string;
  readonly args?: Record<string, unknown>;
};

export interface WireRow {
  readonly way: 'declare' | 'publish' | 'deliver';
  readonly queue?: string;
  readonly exchange?: string;
  readonly exchange_type?: string;
  readonly exchange_auto_delete?: boolean;
  readonly routing_key?: string;
  readonly durable?: boolean;
  readonly arguments?: Record<string, unknown>;
  readonly properties?: Record<string, unknown>;
  readonly body?: { readonly 'oslo.version': string; readonly 'oslo.message': string };
}

const directory = new URL('traces/', import.meta.url);

function read<T>(name: string): readonly T[] {
  const text = gunzipSync(readFileSync(new URL(`${name}.jsonl.gz`, directory))).toString();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as T);
}

export const HOSTS = ['fake', 'libvirt'] as const;

export function rows(host: (typeof HOSTS)[number]): readonly Row[] {
  return read(`zed-${host}`);
}

export function wire(host: (typeof HOSTS)[number]): readonly WireRow[] {
  return read<WireRow>(`zed-${host}-wire`).map((row) => ({
    ...row,
    ...(typeof row.body === 'string' && { body: JSON.parse(row.body) }),
  }));
}

export const objectVersions: Readonly<Record<string, Record<string, string>>> = JSON.parse(
  readFileSync(new URL('zed-object-versions.json', directory), 'utf8'),
);
