// Counts a vitest run for scripts/test.mjs, and names the missing capability of every test that was skipped.
import { writeFileSync } from 'node:fs';

function hookFailed(parent) {
  return parent.errors().length > 0 || (parent.type === 'suite' && hookFailed(parent.parent));
}

export class CountingReporter {
  onTestRunEnd(modules, unhandledErrors) {
    const report = { passed: 0, failed: 0, skipped: [], failures: [] };
    for (const module of modules) {
      for (const error of module.errors()) this.#fail(report, module.relativeModuleId, error);
      for (const suite of module.children.allSuites()) {
        for (const error of suite.errors())
          this.#fail(report, `${module.relativeModuleId} ${suite.fullName}`, error);
      }
      for (const test of module.children.allTests()) this.#count(report, module, test);
    }
    for (const error of unhandledErrors) this.#fail(report, 'outside of any test', error);
    for (const { test, reason } of report.skipped)
      console.log(` skipped: ${test}: ${reason || 'no reason given'}`);
    const path = process.env.NODE_COMPUTE_TEST_REPORT;
    if (path) writeFileSync(path, JSON.stringify(report, null, 2));
  }

  #count(report, module, test) {
    const result = test.result();
    const name = `${module.relativeModuleId} > ${test.fullName}`;
    if (result.state === 'passed') report.passed += 1;
    else if (result.state === 'failed') this.#fail(report, name, result.errors[0]);
    // Its process died, or was never started.
    else if (result.state === 'pending') this.#fail(report, name, 'did not finish');
    // The hook that failed above it is counted by itself; its tests are no skips.
    else if (!hookFailed(test.parent)) report.skipped.push({ test: name, reason: result.note ?? '' });
  }

  #fail(report, name, error) {
    report.failed += 1;
    report.failures.push({ test: name, message: String(error?.message ?? error ?? 'failed').slice(0, 2000) });
  }
}
