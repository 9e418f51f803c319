// The configuration file: what it gives, and what is said of a wrong one, without a word of what stands in it.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { readAgentConfig } from '../../../src/agent/agent-config.js';
import { AgentMonitor } from '../../../src/agent/agent-monitor.js';

const directory = mkdtempSync(join(tmpdir(), 'nct-agent-'));
afterAll(() => rmSync(directory, { recursive: true }));

const PLACEMENT = 'placement: { endpoint: http://127.0.0.1:8778 }';

function file(text: string, name = 'agent.yaml'): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

async function refusal(text: string): Promise<{ readonly code: string; readonly message: string }> {
  return (await readAgentConfig(file(text)).then(
    () => undefined,
    (error: unknown) => error,
  )) as { code: string; message: string };
}

it('the example of the documentation is a configuration, its secrets in files of their own', async () => {
  const page = readFileSync(new URL('../../../docs/agent.md', import.meta.url), 'utf8');
  const [, example = ''] = /^```yaml\n([\s\S]*?)^```$/m.exec(page) ?? [];
  const broker = file('rabbit://nova:s3cret@rabbit/\n', 'broker');
  const password = file('s3cret\n', 'password');
  const text = example
    .replace('/etc/node-compute/broker ', `${broker} `)
    .replace('/etc/node-compute/password', password);
  const { agent, graceMs, monitor, log } = await readAgentConfig(file(text));
  expect(agent.broker.url).toBe('rabbit://nova:s3cret@rabbit/');
  expect(agent.placement.auth).toMatchObject({ type: 'password', password: 's3cret' });
  expect(agent.network?.auth).toEqual(agent.placement.auth);
  expect(agent.volume?.auth).toEqual(agent.placement.auth);
  expect(agent.node?.driverOptions).toEqual({
    images: { glance: { endpoints: ['https://glance.example.org:9292'] } },
  });
  expect([graceMs, monitor, log]).toEqual([30_000, { host: '127.0.0.1', port: 9178 }, { level: 'info' }]);
});

it('what becomes of shelved and soft-deleted servers is told to the agent', async () => {
  const text = `broker: { url: rabbit://x }\n${PLACEMENT}\noffloadShelved: false\nreclaimIntervalMs: 60000\n`;
  const { agent } = await readAgentConfig(file(text));
  expect(agent).toMatchObject({ offloadShelved: false, reclaimIntervalMs: 60_000 });
  expect((await refusal(`${text}offloadShelved: 0\n`)).code).toBe('INVALID_ARGUMENT');
  const negative = text.replace('60000', '-1');
  expect((await refusal(negative)).message).toContain('reclaimIntervalMs');
});

it('every problem of the outer keys is told at once', async () => {
  const { code, message } = await refusal('broker: { url: "http://nova:s3cret@x" }\nhots: x\n');
  expect(code).toBe('INVALID_ARGUMENT');
  expect(message).toContain('broker.url: is not a transport URL');
  expect(message).toContain('placement: is missing');
  expect(message).toContain('hots: is not known here');
  expect(message).not.toContain('s3cret');
});

it.each([
  ['options of the node', `${PLACEMENT}\nnode: { maxConcurrentLaunches: 0 }`, 'maxConcurrentLaunches'],
  ['options of Placement', 'placement: { endpoint: ftp://s3cret }', 'Placement'],
  ['options of Neutron', `${PLACEMENT}\nnetwork: { endpoint: ftp://s3cret }`, 'Neutron'],
  ['a Neutron that is nowhere', `${PLACEMENT}\nnetwork: { ovsBridge: br-int }`, 'Neutron'],
  ['options of Cinder', `${PLACEMENT}\nvolume: { endpoint: ftp://s3cret }`, 'Cinder'],
  ['paths of Cinder', `${PLACEMENT}\nvolume: { endpoint: http://x, mountBase: s3cret }`, 'volume.mountBase'],
  ['keys of Neutron', `${PLACEMENT}\nnetwork: { vifPluggingTimeout: 3 }`, 'network.vifPluggingTimeout'],
])('%s are checked before anything begins', async (_what, text, expected) => {
  const { code, message } = await refusal(`broker: { url: rabbit://x }\n${text}\n`);
  expect(code).toBe('INVALID_ARGUMENT');
  expect(message).toContain(expected);
  expect(message).not.toContain('s3cret');
});

it.each([
  ['ftp://cloud.example.org', 'vnc.novncProxyBaseUrl'],
  ['https://cloud.example.org/vnc_lite.html?token=s3cret', 'vnc.novncProxyBaseUrl'],
  ['https://cloud.example.org\n  tokenTtlSeconds: 0', 'vnc.tokenTtlSeconds'],
  ['https://cloud.example.org\n  proxyClientAddress: "a b"', 'vnc.proxyClientAddress'],
])('a console by %s is refused', async (base, expected) => {
  const vnc = `vnc:\n  novncProxyBaseUrl: ${base}\n`;
  const { message } = await refusal(`broker: { url: rabbit://x }\n${PLACEMENT}\n${vnc}`);
  expect(message).toContain(expected);
  expect(message).not.toContain('s3cret');
});

it('a console has an address and a time', async () => {
  const vnc = { novncProxyBaseUrl: 'https://cloud.example.org:6080/vnc_lite.html', tokenTtlSeconds: 60 };
  const { agent } = await readAgentConfig(
    file(`broker: { url: rabbit://x }\n${PLACEMENT}\nvnc: ${JSON.stringify(vnc)}\n`),
  );
  expect(agent.vnc).toEqual(vnc);
});

it('what is not YAML is told by its line alone', async () => {
  const { code, message } = await refusal('host: x\nbroker: { url: s3cret\nnode: [\n');
  expect(code).toBe('INVALID_ARGUMENT');
  expect(message).toMatch(/line \d+ is not YAML/);
  expect(message).not.toContain('s3cret');
});

it('a file that cannot be read is named', async () => {
  const { code, message } = await refusal('broker: { url: !file /does/not/exist }\n');
  expect(code).toBe('SYSTEM');
  expect(message).toContain('/does/not/exist');
});

it('the monitor lives before the agent does, and is not ready', async () => {
  const monitor = await AgentMonitor.open({ port: 0 });
  try {
    const status = async (path: string): Promise<number> => (await fetch(monitor.url + path)).status;
    expect(await status('/healthz')).toBe(200);
    expect(await status('/readyz')).toBe(503);
    expect(await status('/metrics')).toBe(503);
    expect(await status('/other')).toBe(404);
  } finally {
    await monitor.close();
  }
});
