// Every specification in test/golden gives the document beside it, and libvirt's schema takes each of them.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { parseDomainSpec } from '../../src/libvirt/domain-spec.js';
import { domainXml } from '../../src/libvirt/xml/domain.js';

const directory = fileURLToPath(new URL('./', import.meta.url));
const names = readdirSync(directory)
  .filter((file) => file.endsWith('.json'))
  .map((file) => file.slice(0, -'.json'.length));

function document(name: string): string {
  const { instance, host } = parseDomainSpec(
    JSON.parse(readFileSync(join(directory, `${name}.json`), 'utf8')),
  );
  return domainXml(instance, host);
}

describe('golden domain documents', () => {
  it.each(names)('%s', (name) => {
    const file = join(directory, `${name}.xml`);
    const actual = document(name);
    if (process.env.UPDATE_GOLDEN === '1') writeFileSync(file, actual);
    expect(actual).toBe(readFileSync(file, 'utf8'));
  });

  it('has no document without its specification', () => {
    const documents = readdirSync(directory).filter((file) => file.endsWith('.xml'));
    expect(documents.filter((file) => !names.includes(file.slice(0, -'.xml'.length)))).toEqual([]);
  });
});

const SCHEMA = '/usr/share/libvirt/schemas/domain.rng';
const missing = !existsSync(SCHEMA)
  ? `libvirt's schema ${SCHEMA} (package libvirt-daemon or libvirt-clients) is missing`
  : spawnSync('xmllint', ['--version']).error
    ? 'xmllint (package libxml2-utils) is missing'
    : undefined;

it("libvirt's schema takes every golden document", ({ skip }) => {
  if (missing !== undefined) skip(missing);
  const files = names.map((name) => join(directory, `${name}.xml`));
  execFileSync('xmllint', ['--noout', '--relaxng', SCHEMA, ...files], { stdio: 'pipe' });
}, 60_000);
