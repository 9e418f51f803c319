// Limits of a disk.
import { expect, it } from 'vitest';
import { iotuneElement } from '../../../../src/libvirt/xml/devices/iotune.js';
import { expectRefusal, guestOf, lines, type Words } from '../support.js';

const iotune = (extraSpecs: Words): string[] => lines(iotuneElement(guestOf(extraSpecs).diskLimits));

it('is absent without limits, and 0 is no limit', () => {
  expect(iotune({})).toEqual([]);
  expect(iotune({ 'quota:disk_read_bytes_sec': '0' })).toEqual([]);
});

it('holds all six limits', () => {
  expect(
    iotune({
      'quota:disk_total_bytes_sec': '1',
      'quota:disk_read_iops_sec': '2',
      'quota:disk_write_iops_sec': '3',
    }),
  ).toEqual([
    '<iotune>',
    '  <total_bytes_sec>1</total_bytes_sec>',
    '  <read_iops_sec>2</read_iops_sec>',
    '  <write_iops_sec>3</write_iops_sec>',
    '</iotune>',
  ]);
  expect(
    iotune({
      'quota:disk_read_bytes_sec': '1',
      'quota:disk_write_bytes_sec': '2',
      'quota:disk_total_iops_sec': '3',
    }),
  ).toEqual([
    '<iotune>',
    '  <read_bytes_sec>1</read_bytes_sec>',
    '  <write_bytes_sec>2</write_bytes_sec>',
    '  <total_iops_sec>3</total_iops_sec>',
    '</iotune>',
  ]);
});

it('refuses a total beside its parts, and what is no number', () => {
  const both = { 'quota:disk_total_bytes_sec': '1', 'quota:disk_read_bytes_sec': '1' };
  expectRefusal(() => iotune(both), 'INVALID_ARGUMENT', 'quota:disk_total_bytes_sec');
  expectRefusal(
    () => iotune({ 'quota:disk_read_iops_sec': 'many' }),
    'INVALID_ARGUMENT',
    'quota:disk_read_iops_sec',
    'many',
  );
  expectRefusal(() => iotune({ 'quota:disk_read_iops_sec': '-1' }), 'INVALID_ARGUMENT', '-1');
});
