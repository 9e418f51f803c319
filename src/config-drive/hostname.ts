// The host name of a guest that was given none.
import type { Instance } from '../driver/model.js';

/** Nova's sanitize_hostname: the display name in lower case, without what no host name can have, at most 63 characters. */
export function hostnameOf({ displayName, uuid }: Pick<Instance, 'displayName' | 'uuid'>): string {
  const name = displayName
    .replace(/[\s_.]+/g, '-')
    .replace(/[^A-Za-z0-9-]/g, '')
    .toLowerCase()
    .replace(/^-+/, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  return name === '' ? `server-${uuid}` : name;
}
