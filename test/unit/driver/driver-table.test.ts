import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { withTable } from '../../../scripts/driver-table.mjs';
import { FakeDriver, METHOD_CAPABILITY, NOVA_METHODS } from '../../../src/index.js';
import { LibvirtDriver } from '../../../src/libvirt/libvirt-driver.js';

const page = readFileSync(new URL('../../../docs/drivers.md', import.meta.url), 'utf8');

it('docs/drivers.md holds the table that the code gives; else run `node scripts/driver-table.mjs`', () => {
  const libvirt = new LibvirtDriver({ uri: 'test:///default', instancesPath: '/nonexistent' });
  const drivers = [libvirt, new FakeDriver()];
  expect(page).toBe(withTable(page, { methods: NOVA_METHODS, flags: METHOD_CAPABILITY, drivers }));
});

it('a flag that changes changes the page', () => {
  const drivers = [{ name: 'one', capabilities: { pause: false } }];
  const table = withTable(page, {
    methods: { pause: ['pause'], close: [] },
    flags: { pause: 'pause' },
    drivers,
  });
  expect(table).toContain('| `pause` | `pause` | `pause` | no |');
  expect(table).toContain('| `close` | none | every driver | yes |');
});

it('what the page says is not here is not claimed by a method', () => {
  const [, absent = ''] = page.split('## What of Nova');
  const names = [...absent.matchAll(/`([a-z_]+_[a-z_]+)`/g)].map(([, name]) => name);
  const claimed = new Set(Object.values(NOVA_METHODS).flat());
  expect(names.length).toBeGreaterThan(10);
  expect(names.filter((name) => name !== undefined && claimed.has(name))).toEqual([]);
});
