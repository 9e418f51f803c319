// Reports as JSON.
import type { ResourceReport } from './report.js';

/** Nanoseconds, which JSON's numbers may not hold, are text. */
export function reportJson(report: ResourceReport): string {
  return JSON.stringify(report, (_key, value: unknown) =>
    typeof value === 'bigint' ? String(value) : value,
  );
}
