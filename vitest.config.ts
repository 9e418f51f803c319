// Test tiers as vitest projects: each runs alone with `npx vitest run --project NAME`.
import { defineConfig, type TestProjectInlineConfiguration } from 'vitest/config';
import { CountingReporter } from './scripts/test/vitest-reporter.mjs';

interface Tier {
  readonly name: string;
  /** Tiers run one after the other in this order. */
  readonly order: number;
  readonly timeoutMs: number;
  /** Test files at the same time; default: as many as there are cores. Two with guests: they wait more than they work. */
  readonly files?: number;
}

const tiers: readonly Tier[] = [
  { name: 'unit', order: 0, timeoutMs: 20_000 },
  { name: 'golden', order: 1, timeoutMs: 20_000 },
  { name: 'package', order: 2, timeoutMs: 180_000, files: 1 },
  { name: 'image', order: 3, timeoutMs: 180_000 },
  { name: 'lifetime', order: 4, timeoutMs: 120_000, files: 1 },
  { name: 'contract', order: 5, timeoutMs: 180_000, files: 2 },
  { name: 'integration', order: 6, timeoutMs: 180_000, files: 2 },
  { name: 'fault', order: 7, timeoutMs: 180_000, files: 2 },
  // Needs a control plane, which scripts/test-openstack.mjs brings up.
  ...(process.env.OPENSTACK_RIG_SCRIPTS === undefined
    ? []
    : [{ name: 'openstack', order: 8, timeoutMs: 180_000, files: 1 }]),
];

const projects = tiers.map(
  ({ name, order, timeoutMs, files }): TestProjectInlineConfiguration => ({
    extends: true,
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      sequence: { groupOrder: order },
      testTimeout: timeoutMs,
      hookTimeout: timeoutMs,
      ...(files !== undefined && { maxWorkers: files }),
    },
  }),
);

export default defineConfig({
  test: {
    projects,
    // A process for each file: a crash of the addon costs one file, and what the file leaked ends with it.
    pool: 'forks',
    execArgv: ['--expose-gc'],
    globalSetup: ['./scripts/test/vitest-setup.mjs'],
    reporters: ['default', new CountingReporter()],
    teardownTimeout: 20_000,
  },
});
