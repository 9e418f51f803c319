// The version of this package, for metadata, reports and --version.
import { readFileSync } from 'node:fs';

let version: string | undefined;

export function packageVersion(): string {
  if (version === undefined) {
    const manifest: unknown = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'));
    version = String((manifest as { readonly version: unknown }).version);
  }
  return version;
}
