// Tests of the agent on a real OpenStack control plane: installs it where it is missing, starts it, and stops what it started.
// Usage: node scripts/test-openstack.mjs [vitest arguments]    OPENSTACK_RIG_SCRIPTS: the directory of the rig's scripts
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
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
const env = { ...process.env, OPENSTACK_RIG_SCRIPTS: scripts };
const vitest = join(root, 'node_modules/vitest/vitest.mjs');
const files = readdirSync(join(root, 'test/openstack')).filter((name) => name.endsWith('.test.ts'));
for (const file of files) {
  try {
    // Without the hosts of the file before: each host is a node of this machine's name, which Placement takes once.
    run('up.sh', '--fresh');
    const args = [vitest, 'run', '--project', 'openstack', '--passWithNoTests', `test/openstack/${file}`];
    const { status } = spawnSync(process.execPath, [...args, ...process.argv.slice(2)], {
      cwd: root,
      env,
      stdio: 'inherit',
    });
    if (status !== 0) process.exitCode = 1;
  } finally {
    run('down.sh');
  }
}
