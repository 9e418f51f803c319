// node-compute doctor: what this host lacks, and the command that mends it.
import { Command } from 'commander';
import { DEFAULT_ROOT } from '../../libvirt/options.js';
import { action } from '../command.js';
import { type Check, type Finding, problem, type Verdict } from '../doctor/check.js';
import { checkEmbedded } from '../doctor/embedded.js';
import { checkKvm, checkKvmAccess, checkQemuUser } from '../doctor/kvm.js';
import { checkFilterPrograms, checkKernelNetwork, checkNetwork } from '../doctor/network.js';
import { checkAddon, checkMkfs, checkNode, checkQemu, checkQemuDriver } from '../doctor/software.js';
import { checkStorage } from '../doctor/storage.js';
import { type SharedOptions, withNodeOptions } from '../node-options.js';
import { FAILED, table } from '../output.js';

const CHECKS: readonly Check[] = [
  () => checkNode(),
  checkAddon,
  checkQemuDriver,
  checkQemu,
  () => checkMkfs(),
  checkQemuUser,
  checkKvm,
  (subject) => checkKvmAccess(subject),
  checkStorage,
  () => checkNetwork(),
  checkKernelNetwork,
  (subject) => checkFilterPrograms(subject),
  checkEmbedded,
];

const DEFAULT_INSTANCES_PATH = '/var/lib/node-compute/instances';
const MARKS: Readonly<Record<Verdict, string>> = { ok: 'ok', warning: 'warning', problem: 'PROBLEM' };

export function doctorCommand(): Command {
  return withNodeOptions(new Command('doctor').description('what this host lacks, and what mends it')).action(
    action(async ({ output }, options: SharedOptions) => {
      const subject = {
        instancesPath: options.instancesPath ?? DEFAULT_INSTANCES_PATH,
        root: options.root ?? DEFAULT_ROOT,
        embedded: options.uri === undefined,
      };
      const findings: Finding[] = [];
      for (const check of CHECKS) findings.push(...(await runCheck(() => check(subject))));
      const problems = findings.filter(({ verdict }) => verdict === 'problem').length;
      const rows = findings.map(({ check, verdict, message, mend }) => [
        MARKS[verdict],
        check,
        mend === undefined ? message : `${message}\n  mend: ${mend}`,
      ]);
      output.result(
        { healthy: problems === 0, findings },
        `${table(['', 'check', ''], rows)}\n${problems === 0 ? 'instances can be launched' : `${problems} problems stop launches`}`,
      );
      if (problems > 0) process.exitCode = FAILED;
    }),
  );
}

/** A check that breaks is a finding too: the others still tell theirs. */
async function runCheck(check: () => Finding[] | Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await check();
  } catch (error) {
    return [problem('doctor', `a check failed: ${(error as Error).message}`)];
  }
}
