// Memory size, pages and host NUMA nodes.
import { expect, it } from 'vitest';
import type { DomainHost } from '../../../src/libvirt/xml/host.js';
import { memoryBackingElement, memoryElement, numatuneElement } from '../../../src/libvirt/xml/memory.js';
import { expectRefusal, guestOf, hostOf, lines, type Words } from './support.js';

const backing = (extraSpecs: Words, properties: Words = {}): string[] =>
  lines(memoryBackingElement(guestOf(extraSpecs, properties)));

it('counts in KiB', () => {
  expect(lines(memoryElement(guestOf({}, {}, { memoryMb: 3 })))).toEqual([
    "<memory unit='KiB'>3072</memory>",
  ]);
});

it.each([
  ['small', []],
  ['any', []],
  ['4', []],
  ['large', ['<memoryBacking>', '  <hugepages/>', '</memoryBacking>']],
  [
    '2048',
    [
      '<memoryBacking>',
      '  <hugepages>',
      "    <page size='2048' unit='KiB'/>",
      '  </hugepages>',
      '</memoryBacking>',
    ],
  ],
])('takes pages of the size asked for: %s', (size, expected) => {
  expect(backing({ 'hw:mem_page_size': size })).toEqual(expected);
});

it('names the size of large pages where some were set aside', () => {
  const pinning = { dedicated: [], nodes: [0], pageSizeKib: 1_048_576 };
  const large = guestOf({ 'hw:mem_page_size': 'large' }, {}, { memoryMb: 2048 });
  expect(lines(memoryBackingElement(large, pinning)).join()).toContain("size='1048576'");
  // What the flavor names stays what it names.
  const small = guestOf({ 'hw:mem_page_size': '2MB' }, {}, { memoryMb: 2048 });
  expect(lines(memoryBackingElement(small, pinning)).join()).toContain("size='2048'");
});

it.each([
  ['2MB', '2048'],
  ['2MiB', '2048'],
  ['2048KiB', '2048'],
  ['1GB', '1048576'],
  ['2097152B', '2048'],
])('reads units: %s', (size, kib) => {
  expect(backing({ 'hw:mem_page_size': size }).join()).toContain(`size='${kib}'`);
});

it('refuses pages that are no pages, or do not fill the memory', () => {
  for (const size of ['huge', '3', '2Mb', '-4', '0', '']) {
    expectRefusal(() => backing({ 'hw:mem_page_size': size }), 'INVALID_ARGUMENT', 'hw:mem_page_size');
  }
  const odd = guestOf({ 'hw:mem_page_size': '1GB' }, {}, { memoryMb: 1536 });
  expectRefusal(() => memoryBackingElement(odd), 'INVALID_ARGUMENT', 'hw:mem_page_size', '1536');
});

it('lets the image name a size only where the flavor leaves the choice', () => {
  expect(backing({ 'hw:mem_page_size': 'any' }, { hw_mem_page_size: 'large' })).toContain('  <hugepages/>');
  expectRefusal(
    () => backing({}, { hw_mem_page_size: 'large' }),
    'FLAVOR_IMAGE_CONFLICT',
    'hw_mem_page_size',
  );
  const both = (): unknown => backing({ 'hw:mem_page_size': '4' }, { hw_mem_page_size: '2048' });
  expectRefusal(both, 'FLAVOR_IMAGE_CONFLICT', 'hw_mem_page_size', '2048');
});

it('locks memory that has a page size', () => {
  expect(backing({ 'hw:mem_page_size': 'small', 'hw:locked_memory': 'true' })).toContain('  <locked/>');
  expectRefusal(
    () => backing({ 'hw:locked_memory': 'true' }),
    'INVALID_ARGUMENT',
    'hw:locked_memory',
    'hw:mem_page_size',
  );
  const both = (): unknown =>
    backing({ 'hw:mem_page_size': 'small', 'hw:locked_memory': 'true' }, { hw_locked_memory: 'no' });
  expectRefusal(both, 'FLAVOR_IMAGE_CONFLICT', 'hw:locked_memory');
});

it('takes memory from the host nodes that the caller gives', () => {
  const numatune = (nodes: number[]): string[] => {
    const facts: Partial<DomainHost> = { pinning: { dedicated: [], nodes } };
    return lines(numatuneElement(guestOf({ 'hw:numa_nodes': '2' }), hostOf(facts)));
  };
  expect(numatune([])).toEqual([]);
  expect(numatune([1, 0]).slice(1, -1)).toEqual([
    "  <memory mode='strict' nodeset='0-1'/>",
    "  <memnode cellid='0' mode='strict' nodeset='1'/>",
    "  <memnode cellid='1' mode='strict' nodeset='0'/>",
  ]);
  expectRefusal(() => numatune([0]), 'INVALID_ARGUMENT', 'pinning.nodes');
});
