// Tests of the agent on a real OpenStack control plane: installs it where it is missing, starts it, and stops what it started.
// Usage: node scripts/test-openstack.mjs [vitest arguments]    OPENSTACK_RIG_SCRIPTS: the directory of the rig's scripts
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const scripts = process.env.OPENSTACK_RIG_SCRIPTS ?? join(dirname(root), 'shared/openstack-rig');
if (!existsSync(join(scripts, 'up.sh'))) {
  console.log(
    `skipped: no scripts of an OpenStack rig in ${scripts}; OPENSTACK_RIG_SCRIPTS says where they are`,
  );
  process.exit(0);
}
if (process.getuid() !== 0) {
  console.log('skipped: the rig needs root (chroot, namespaces)');
  process.exit(0);
}

/** Ends the program where it fails. */
function run(script, ...args) {
  const { status } = spawnSync(join(scripts, script), args, { stdio: 'inherit' });
  if (status !== 0) throw new Error(`${script} ended with ${status}`);
}

const rig = process.env.OPENSTACK_RIG ?? '/var/tmp/openstack-rig';
if (!existsSync(join(rig, '.installed'))) run('install.sh');
try {
  // Without the hosts of earlier runs: in Placement one of them has this machine's name.
  run('up.sh', '--fresh');
  const env = { ...process.env, OPENSTACK_RIG_SCRIPTS: scripts };
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const args = [vitest, 'run', '--project', 'openstack', ...process.argv.slice(2)];
  process.exitCode = spawnSync(process.execPath, args, { cwd: root, env, stdio: 'inherit' }).status ?? 1;
} finally {
  run('down.sh');
}
