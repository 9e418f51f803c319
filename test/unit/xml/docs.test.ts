// docs/domain-xml.md says what the code does: its examples run, its tables name every term.
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parseDomainSpec } from '../../../src/libvirt/domain-spec.js';
import { domainXml } from '../../../src/libvirt/xml/domain.js';
import { FLAVOR_KEYS } from '../../../src/libvirt/xml/vocabulary/flavor-terms.js';
import { IMAGE_KEYS } from '../../../src/libvirt/xml/vocabulary/image-terms.js';

const page = readFileSync(new URL('../../../docs/domain-xml.md', import.meta.url), 'utf8');

function blocks(language: string): string[] {
  return [...page.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(
    (match) => match[1] ?? '',
  );
}

function document(example: string): string {
  const { instance, host } = parseDomainSpec(JSON.parse(example));
  return domainXml(instance, host);
}

it('shows the document of its first example, and a full one that works', () => {
  const [minimal, full] = blocks('json');
  expect(document(minimal ?? '')).toBe(blocks('xml')[0]);
  const text = document(full ?? '');
  expect(text).toContain("<watchdog model='i6300esb' action='reset'/>");
  expect(text).toContain("<driver queues='2'/>");
});

it.each([
  ...FLAVOR_KEYS.read,
  ...FLAVOR_KEYS.aliases,
  ...IMAGE_KEYS.read,
  ...IMAGE_KEYS.legacy,
  ...IMAGE_KEYS.refused,
])('names %s', (key) => {
  expect(page).toContain(`\`${key}\``);
});

it.each(FLAVOR_KEYS.refused)('names the refused %s', (key) => {
  const scope = /^quota:(memory|disk_io|vif)_/.exec(key)?.[0];
  expect(page).toContain(scope === undefined ? `\`${key}\`` : `\`${scope}\``);
});
