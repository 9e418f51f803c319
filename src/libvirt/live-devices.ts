// The disks and interfaces that a domain has just now, read from the document that libvirt writes of it.

export interface LiveDisk {
  /** `vdb`. */
  readonly target: string;
  /** By which events and the detaching call name it; only a running domain has one. */
  readonly alias: string | undefined;
  /** As {@link import('../driver/volume.js').volumeKey} writes it; undefined for a drive without a medium. */
  readonly key: string | undefined;
  /** libvirt knows of a copy of it. */
  readonly copied: boolean;
}

export interface LiveInterface {
  readonly mac: string;
  readonly alias: string | undefined;
}

export interface LiveDevices {
  readonly disks: readonly LiveDisk[];
  readonly interfaces: readonly LiveInterface[];
}

/*
 * Expressions are enough: it is libvirt that wrote the document, always in one form. Values are escaped, so that no
 * apostrophe or angle bracket of a value can be taken for one of the form.
 */

export function parseDevices(xml: string): LiveDevices {
  return {
    disks: blocks(xml, 'disk').map((block) => ({
      target: attribute(block, 'target', 'dev') ?? '',
      alias: attribute(block, 'alias', 'name'),
      key: sourceKey(block),
      copied: /^ {6}<mirror /m.test(block),
    })),
    interfaces: blocks(xml, 'interface').map((block) => ({
      mac: (attribute(block, 'mac', 'address') ?? '').toLowerCase(),
      alias: attribute(block, 'alias', 'name'),
    })),
  };
}

/** Elements directly below `devices`, by libvirt's indentation: a copy under way has a `source` of its own within. */
function blocks(xml: string, name: string): string[] {
  return [...xml.matchAll(new RegExp(`^    <${name} .*?^    </${name}>$`, 'gms'))].map(([block]) => block);
}

/** Of the first such element right below the device. */
function attribute(block: string, element: string, name: string): string | undefined {
  const tag = new RegExp(`^      <${element}( [^>]*?)/?>$`, 'm').exec(block)?.[1] ?? '';
  return attributeOf(tag, name);
}

function attributeOf(tag: string, name: string): string | undefined {
  const value = new RegExp(` ${name}='([^']*)'`).exec(tag)?.[1];
  return value === undefined ? undefined : decode(value);
}

function sourceKey(block: string): string | undefined {
  const file = attribute(block, 'source', 'file');
  if (file !== undefined) return `file:${file}`;
  const device = attribute(block, 'source', 'dev');
  if (device !== undefined) return `block:${device}`;
  const protocol = attribute(block, 'source', 'protocol');
  if (protocol === undefined) return undefined;
  const name = attribute(block, 'source', 'name') ?? '';
  if (protocol !== 'nbd') return `${protocol}:${name}`;
  const host = /^ {8}<host( [^>]*?)\/?>$/m.exec(block)?.[1] ?? '';
  const server = attributeOf(host, 'socket') ?? `${attributeOf(host, 'name')}:${attributeOf(host, 'port')}`;
  return `nbd:${server}/${name}`;
}

const ENTITIES: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" };

function decode(text: string): string {
  return text.replace(/&(?:(amp|lt|gt|quot|apos)|#x([0-9a-fA-F]+)|#(\d+));/g, (whole, name, hex, decimal) => {
    if (name !== undefined) return ENTITIES[name] ?? whole;
    return String.fromCodePoint(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
  });
}
