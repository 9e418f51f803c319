// Runs a script with the library in a network namespace of its own, which ends with it: the host's network is not touched.
import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

const file = (path: string): string => JSON.stringify(new URL(`../../dist/${path}`, import.meta.url).href);

/** What every script has: the library's own network part, and `ip` as a second opinion. */
const PRELUDE = `
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Bridges } from ${file('network/bridges.js')};
import { hostLinks } from ${file('network/links.js')};
const ip = (...args) => execFileSync('ip', args, { encoding: 'utf8' });
const look = (name) => JSON.parse(ip('-json', '-details', 'link', 'show', name))[0];
const exists = (name) => JSON.parse(ip('-json', 'link')).some((link) => link.ifname === name);
const addTap = (name, bridge) => {
  ip('tuntap', 'add', name, 'mode', 'tap');
  if (bridge) ip('link', 'set', name, 'master', bridge);
};
const codeOf = (promise) => promise.then(() => undefined, (error) => error);
const tell = (value) => process.stdout.write(JSON.stringify(value));
/** Another process in the same namespace; \`through\` is a command that runs it. */
const start = (script, through = []) => {
  const node = [process.execPath, '--input-type=module', '-e', process.env.TEST_PRELUDE + script];
  const [command, ...words] = [...through, ...node];
  return spawn(command, words, { stdio: ['ignore', 'pipe', 'inherit'] });
};
const answer = async (child) => {
  let text = '';
  child.stdout.on('data', (data) => (text += data));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error('a process ended with ' + code);
  return JSON.parse(text);
};
`;

/** Empty, or why the tests cannot run here. */
export function missingForNamespaces(): string {
  if (spawnSync('ip', ['-V']).status !== 0) return 'ip (iproute2) is not installed';
  if (spawnSync('unshare', ['--net', 'true']).status !== 0) return 'a network namespace needs root';
  return '';
}

/** What the script told. It is killed after a minute. */
export async function inNamespace<T>(script: string): Promise<T> {
  const node = [process.execPath, '--input-type=module', '-e', PRELUDE + script];
  const { stdout } = await run('unshare', ['--net', '--', ...node], {
    env: { ...process.env, TEST_PRELUDE: PRELUDE },
    timeout: 60_000,
    killSignal: 'SIGKILL',
  });
  return JSON.parse(stdout) as T;
}
