// Instances, hosts and fragments for the tests of the XML writer.
import { expect } from 'vitest';
import { ComputeError, type ErrorCode } from '../../../src/driver/errors.js';
import type { DiskFormat, Flavor, ImageMeta, Instance } from '../../../src/driver/model.js';
import { element, serialize, type XmlElement } from '../../../src/libvirt/xml/element.js';
import type { DomainHost } from '../../../src/libvirt/xml/host.js';
import { type Platform, resolvePlatform } from '../../../src/libvirt/xml/platform.js';
import { type Guest, resolveGuest } from '../../../src/libvirt/xml/vocabulary/guest.js';

export type Words = Record<string, string>;

export function flavorOf(extraSpecs: Words = {}, size: Partial<Flavor> = {}): Flavor {
  return {
    name: 'm1.test',
    vcpus: 4,
    memoryMb: 1024,
    rootGb: 1,
    ephemeralGb: 0,
    swapMb: 0,
    extraSpecs,
    ...size,
  };
}

export function imageOf(properties: Words = {}, diskFormat: DiskFormat = 'qcow2'): ImageMeta {
  return { id: 'image', diskFormat, source: { type: 'file', path: '/image' }, properties };
}

export function guestOf(extraSpecs: Words = {}, properties: Words = {}, size: Partial<Flavor> = {}): Guest {
  return resolveGuest(flavorOf(extraSpecs, size), imageOf(properties));
}

export function hostOf(facts: Partial<DomainHost> = {}): DomainHost {
  return {
    virtType: 'qemu',
    architecture: 'x86_64',
    packageVersion: '1.2.3',
    diskPath: '/i/disk',
    diskFormat: 'qcow2',
    consoleLogPath: '/i/console.log',
    ...facts,
  };
}

export function platformOf(guest: Guest = guestOf(), facts: Partial<DomainHost> = {}): Platform {
  return resolvePlatform(guest, hostOf(facts));
}

export function instanceOf(extraSpecs: Words = {}, properties: Words = {}): Instance {
  return {
    uuid: '7d1f2c3b-4a5e-4f60-8a9b-0c1d2e3f4a5b',
    id: 1,
    name: 'instance-00000001',
    displayName: 'web',
    flavor: flavorOf(extraSpecs),
    image: imageOf(properties),
    vifs: [],
    createdAt: '2026-01-02T03:04:05.678Z',
  };
}

/** The lines of one or several elements. */
export function lines(...elements: readonly (XmlElement | undefined)[]): string[] {
  const inner = elements.filter((one) => one !== undefined);
  if (inner.length === 0) return [];
  return serialize(element('test', {}, inner))
    .trimEnd()
    .split('\n')
    .slice(1, -1)
    .map((line) => line.slice(2));
}

/** That the call throws a ComputeError of this code whose message holds every one of the words. */
export function expectRefusal(call: () => unknown, code: ErrorCode, ...words: readonly string[]): void {
  let thrown: unknown;
  try {
    call();
  } catch (error) {
    thrown = error;
  }
  expect(ComputeError.is(thrown), `no ComputeError but ${String(thrown)}`).toBe(true);
  if (!ComputeError.is(thrown)) return;
  expect(thrown.code, thrown.message).toBe(code);
  for (const word of words) expect(thrown.message).toContain(word);
}
