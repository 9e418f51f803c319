// The services around an agent: away for a while, not to be trusted, and what it says of them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { readAgentConfig } from '../../src/agent/agent-config.js';
import { ownContext } from '../../src/agent/context.js';
import { ComputeError } from '../../src/index.js';
import { makeCertificates } from '../agent/certificates.js';
import { FaultBench, FaultServices, faultServices, PLACEMENT_TOKEN } from '../agent/fault-bench.js';
import { BUILD, request, TARGET, UUID, WAIT } from '../agent/sent.js';

const services = faultServices();

it('a deletion waits for a Placement that is away, and is done when it is back', async () => {
  const here = await FaultBench.open(services());
  const { conductor } = here;
  await here.build(await here.agent());
  const placementIsBack = await services().withoutPlacement();
  const sent = request('terminate');
  here.store(sent.args.instance);
  await here.cast(sent);
  await vi.waitFor(() => expect(conductor.instance(UUID).get('vm_state')).toBe('deleted'), WAIT);
  expect(here.hypervisor.domains.size).toBe(0);
  expect(conductor.finished('compute_terminate_instance')).toEqual([]);
  await placementIsBack();
  await here.ended('compute_terminate_instance');
  expect(conductor.instances.has(UUID)).toBe(false);
  expect(conductor.finished('compute_terminate_instance')[0]?.failure).toBeUndefined();
  expect(await here.allocations()).toBe(0);
});

it('a build waits for a Glance that is away, and is done when it is back', async () => {
  const here = await FaultBench.open(services());
  const agent = await here.agent();
  const away = new ComputeError('IMAGE_DOWNLOAD_FAILED', 'Glance is away', { retryable: true });
  here.faults.add({ at: 'spawn.image', fail: away, times: 2 });
  await here.build(agent);
  expect(
    here.lines.filter((line) => line.includes('waits for a service that is away: Glance is away')),
  ).toHaveLength(2);
  expect(here.faultsTold).toEqual([]);
});

it('a broker over TLS is trusted by the authority that the configuration names, and by no other', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'node-compute-tls-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const tls = makeCertificates(directory);
  const secure = await FaultServices.start(tls);
  onTestFinished(() => secure.stop());
  const here = await FaultBench.open(secure);
  const configured = async (trust: string): Promise<typeof here.broker> => {
    const path = join(directory, 'agent.yaml');
    const url = `rabbit://guest:guest@127.0.0.1:${secure.rabbitmq.tlsPort}/?ssl=1`;
    const text = `broker: { url: "${url}"${trust} }\nplacement: { endpoint: "${secure.placement.url}" }\n`;
    writeFileSync(path, text);
    return (await readAgentConfig(path)).agent.broker;
  };
  here.broker = await configured('');
  const stop = new AbortController();
  const opening = here.agent(stop.signal);
  const refused = expect(opening).rejects.toBeDefined();
  await vi.waitFor(() => expect(here.lines.join('\n')).toMatch(/not connected .*certificate/), WAIT);
  stop.abort();
  await refused;
  expect(here.conductor.service).toBeUndefined();

  here.broker = await configured(`, tls: { caFile: ${tls.ca} }`);
  await here.build(await here.agent());
});

it('no secret is in the log, whatever fails', async () => {
  const here = await FaultBench.open(services());
  const agent = await here.agent();
  await here.allocate(agent);
  const userData = Buffer.from('user-data-s3cret').toString('base64');
  const context = { ...ownContext(), auth_token: 'token-s3cret' };
  const build = request('boot-warm');
  build.args['admin_password'] = 'password-s3cret';
  build.args.instance.set('user_data', userData);
  here.faults.add({ at: 'spawn.start', fail: new ComputeError('HYPERVISOR', 'planted') });
  here.store(build.args.instance);
  await here.cast(build, context);
  await here.ended(BUILD);
  await vi.waitFor(() => expect(here.conductor.rescheduled).toHaveLength(1), WAIT);
  // Neither is an instance.
  for (const instance of ['text-s3cret', { user_data: userData }]) {
    await here.client.cast(TARGET, 'pause_instance', {
      instance,
    });
  }
  const placementIsBack = await services().withoutPlacement();
  const end = request('terminate');
  here.store(end.args.instance);
  await here.cast(end, context);
  await vi.waitFor(() => expect(here.conductor.instance(UUID).get('vm_state')).toBe('deleted'), WAIT);
  await placementIsBack();
  await here.ended('compute_terminate_instance');
  await vi.waitFor(() => expect(here.journaled('finished')).toBe(4), WAIT);
  await agent.close();

  const log = here.lines.join('\n');
  for (const told of ['planted', 'instance is not an object Instance', 'was terminated'])
    expect(log).toContain(told);
  for (const secret of ['s3cret', userData, PLACEMENT_TOKEN]) expect(log).not.toContain(secret);
});
