// Limits of one disk.
import { element, textElement, type XmlElement } from '../element.js';
import type { DiskLimits } from '../vocabulary/limits.js';

/** Undefined where the flavor sets no limit. */
export function iotuneElement(limits: DiskLimits): XmlElement | undefined {
  const children = [
    limits.totalBytes === undefined ? undefined : textElement('total_bytes_sec', limits.totalBytes),
    limits.readBytes === undefined ? undefined : textElement('read_bytes_sec', limits.readBytes),
    limits.writeBytes === undefined ? undefined : textElement('write_bytes_sec', limits.writeBytes),
    limits.totalIops === undefined ? undefined : textElement('total_iops_sec', limits.totalIops),
    limits.readIops === undefined ? undefined : textElement('read_iops_sec', limits.readIops),
    limits.writeIops === undefined ? undefined : textElement('write_iops_sec', limits.writeIops),
  ].filter((child) => child !== undefined);
  return children.length === 0 ? undefined : element('iotune', {}, children);
}
