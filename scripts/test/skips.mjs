// Which skipped tests are expected: test/allowed-skips.json lists patterns of their reasons, each with why it may be so.
import { readFileSync } from 'node:fs';

export function readAllowedSkips(path) {
  return JSON.parse(readFileSync(path, 'utf8')).map(({ reason, because }) => {
    if (!reason || !because) throw new Error(`${path}: every entry needs a reason (a pattern) and a because`);
    return new RegExp(reason);
  });
}

/** Those of the skips, given as { test, reason }, that no pattern allows; one without a reason never is. */
export function unexpectedSkips(skips, allowed) {
  return skips.filter(({ reason }) => !reason || !allowed.some((pattern) => pattern.test(reason)));
}
