// Looks into the document that libvirt writes of a running domain: always of libvirt's own form, never a guest's.

/** Without what people wrote into it: titles, descriptions and metadata stand before it. */
export function devicesOf(xml: string): string {
  return /<devices>(.*)<\/devices>/s.exec(xml)?.[1] ?? '';
}

/** The attributes of one start tag. */
export function attributesOf(tag: string): Map<string, string> {
  return new Map(
    [...tag.matchAll(/([A-Za-z_]+)=(?:'([^']*)'|"([^"]*)")/g)].map(([, name = '', single, double]) => [
      name,
      single ?? double ?? '',
    ]),
  );
}
