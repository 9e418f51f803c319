// Volumes and interfaces through a node: recorded with the instance, refused where they are another's, settled after a kill.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ComputeNode, VolumeConnection } from '../../src/index.js';
import { type Bench, kill9 as killed, makeBench, request, UUID } from './node-harness.js';

const OTHER = '11111111-2222-4333-8444-555555555555';
const PORT = '5f0c1f0a-6a0e-4d9f-8f57-6a4a9f4e0b3c';

const volume = (name: string, more: Partial<VolumeConnection> = {}): VolumeConnection =>
  ({
    driverVolumeType: 'file',
    data: { path: `/volumes/${name}`, format: 'raw' },
    ...more,
  }) as VolumeConnection;

const journal = (bench: Bench): string => join(bench.path, 'journal', UUID);
const devicesOf = (bench: Bench): string[] => {
  const instance = bench.hypervisor.domains.get(UUID)?.instance;
  return [
    ...(instance?.volumes ?? []).map(({ device }) => device),
    ...(instance?.vifs ?? []).map(({ id }) => id),
  ];
};

/** Also without the last `lines` of the journal. */
function kill9(bench: Bench, lines = 0): Bench {
  const after = killed(bench);
  const written = readFileSync(journal(after), 'utf8').split('\n');
  writeFileSync(journal(after), `${written.slice(0, written.length - 1 - lines).join('\n')}\n`);
  return after;
}

async function launched(keepsDevices = false): Promise<{ bench: Bench; node: ComputeNode }> {
  const bench = makeBench();
  const node = await bench.open({}, { guest: () => ({ keepsDevices }) });
  await node.launch(request({ networks: [] }));
  return { bench, node };
}

describe('a node', () => {
  it('tells and keeps what is attached, over restarts and reboots, until it is detached', async () => {
    const { bench, node } = await launched();
    const first = await node.attachVolume(UUID, volume('a', { readOnly: true }));
    expect(first.device).toBe('vdb');
    expect(await node.attachVolume(UUID, volume('a', { readOnly: true }))).toEqual(first);
    const second = await node.attachVolume(UUID, volume('b'), { device: 'vdd' });
    const vif = await node.attachInterface(UUID, { portId: PORT, bridge: 'br-one' });
    expect(await node.attachInterface(UUID, { portId: PORT.toUpperCase() })).toEqual(vif);
    expect((await node.get(UUID)).volumes).toEqual([first, second]);
    expect(await node.swapVolume(UUID, 'vdd', volume('c'))).toEqual({
      connection: volume('c'),
      device: 'vdd',
    });
    await node.extendVolume(UUID, 'vdd', 2 ** 30);
    const after = kill9(bench);
    const next = await after.open();
    expect(next.recoveries).toMatchObject([
      { action: 'adopted', reason: expect.stringContaining('complete') },
    ]);
    expect((await next.get(UUID)).volumes.map(({ device }) => device)).toEqual(['vdb', 'vdd']);
    expect((await next.get(UUID)).macs).toEqual([vif.mac]);
    await next.detachVolume(UUID, 'vdb');
    await next.detachVolume(UUID, volume('a'));
    await next.detachInterface(UUID, vif.mac);
    expect(devicesOf(after)).toEqual(['vdd']);
    await next.terminate(UUID);
    expect(after.left()).toEqual([]);
  });

  it('refuses what is in use elsewhere, what it does not know, and what is none', async () => {
    const { bench, node } = await launched();
    await node.launch(request({ uuid: OTHER, networks: [{ portId: PORT }] }));
    await node.attachVolume(OTHER, volume('a'));
    await node.attachVolume(OTHER, volume('shared', { multiattach: true }));
    const calls: [Promise<unknown>, string][] = [
      [node.attachVolume(UUID, volume('a')), 'DEVICE_IN_USE'],
      [node.attachVolume(UUID, volume('shared')), 'DEVICE_IN_USE'],
      [node.attachVolume(UUID, volume('b'), { device: 'vda' }), 'DEVICE_IN_USE'],
      [node.attachVolume(UUID, volume('b'), { device: '/dev/vdb' }), 'INVALID_ARGUMENT'],
      [node.attachVolume(UUID, volume('../b')), 'INVALID_ARGUMENT'],
      [node.attachInterface(UUID, { portId: PORT }), 'INVALID_ARGUMENT'],
      [node.attachInterface(UUID, { bridge: 'no/bridge' }), 'INVALID_ARGUMENT'],
      [node.detachVolume(UUID, 'vdq'), 'DEVICE_NOT_FOUND'],
      [node.extendVolume(UUID, 'vdq', 2 ** 30), 'DEVICE_NOT_FOUND'],
      [node.swapVolume(UUID, 'vdq', volume('b')), 'DEVICE_NOT_FOUND'],
      [node.detachInterface(UUID, PORT), 'DEVICE_NOT_FOUND'],
      [node.detachInterface(UUID, 7 as unknown as string), 'INVALID_ARGUMENT'],
      [node.attachVolume('22222222-2222-4333-8444-555555555555', volume('b')), 'INSTANCE_NOT_FOUND'],
    ];
    const outcomes = await Promise.allSettled(calls.map(([call]) => call));
    expect(outcomes.map((outcome) => outcome.status === 'rejected' && outcome.reason.code)).toEqual(
      calls.map(([, code]) => code),
    );
    expect(devicesOf(bench)).toEqual([]);
    await node.attachVolume(UUID, volume('shared', { multiattach: true }));
  });

  it('records nothing where the driver fails, and keeps what a guest does not let go of', async () => {
    const { bench, node } = await launched(true);
    bench.faults.add({ at: 'attachVolume', fail: new Error('planted') });
    await expect(node.attachVolume(UUID, volume('a'))).rejects.toMatchObject({ code: 'HYPERVISOR' });
    expect((await node.get(UUID)).volumes).toEqual([]);
    const attached = await node.attachVolume(UUID, volume('a'));
    await expect(node.detachVolume(UUID, 'vdb')).rejects.toMatchObject({
      code: 'DETACH_FAILED',
      retryable: true,
    });
    expect((await node.get(UUID)).volumes).toEqual([attached]);
    const next = await kill9(bench).open();
    expect((await next.get(UUID)).volumes).toEqual([attached]);
  });
});

describe('a kill', () => {
  it('between effect and record: what was attached goes again, what was detached stays away', async () => {
    const { bench, node } = await launched();
    await node.attachVolume(UUID, volume('a'));
    const attached = kill9(bench, 1);
    expect(devicesOf(attached)).toEqual(['vdb']);
    const next = await attached.open();
    expect(next.recoveries).toMatchObject([
      { action: 'adopted', reason: expect.stringContaining('is detached') },
    ]);
    expect((await next.get(UUID)).volumes).toEqual([]);
    expect(devicesOf(attached)).toEqual([]);
    await node.detachVolume(UUID, 'vdb');
    const detached = kill9(bench, 1);
    expect((await (await detached.open()).get(UUID)).volumes).toEqual([]);
  });

  it('before the effect: nothing is there; of an interface as well', async () => {
    const { bench, node } = await launched();
    bench.faults.add({ at: 'attachInterface', hang: 'deaf' });
    const attaching = node.attachInterface(UUID, { portId: PORT }).catch(() => undefined);
    await bench.faults.reached('attachInterface');
    const after = kill9(bench);
    expect(readFileSync(journal(after), 'utf8')).toContain(PORT);
    const next = await after.open();
    expect(next.recoveries).toMatchObject([{ reason: expect.stringContaining('is detached') }]);
    expect((await next.get(UUID)).macs).toEqual([]);
    bench.faults.release();
    await attaching;
  });

  it('in a swap: it is taken back', async () => {
    const { bench, node } = await launched();
    await node.attachVolume(UUID, volume('a'));
    await node.swapVolume(UUID, 'vdb', volume('b'));
    const after = kill9(bench, 1);
    const next = await after.open();
    expect(next.recoveries).toMatchObject([{ reason: expect.stringContaining('is taken back') }]);
    const { volumes } = await next.get(UUID);
    expect(volumes.map(({ connection }) => connection)).toEqual([volume('a')]);
    expect(after.hypervisor.domains.get(UUID)?.instance.volumes).toEqual(volumes);
  });

  it('of a guest that keeps its device: it is recorded as attached', async () => {
    const { bench, node } = await launched();
    await node.attachVolume(UUID, volume('a'));
    const after = kill9(bench, 1);
    const next = await after.open({}, { guest: () => ({ keepsDevices: true }) });
    expect(next.recoveries).toMatchObject([{ reason: expect.stringContaining('stays') }]);
    expect((await next.get(UUID)).volumes).toMatchObject([{ device: 'vdb' }]);
  });

  it('whose device cannot be settled yet: the next start tries again', async () => {
    const { bench, node } = await launched();
    await node.attachVolume(UUID, volume('a'));
    const after = kill9(bench, 1);
    after.faults.add({ at: 'detachVolume', fail: new Error('planted') });
    const next = await after.open();
    expect(next.recoveries).toMatchObject([
      { action: 'adopted', reason: expect.stringContaining('planted') },
    ]);
    await next.close();
    const later = await after.open();
    expect(later.recoveries).toMatchObject([{ reason: expect.stringContaining('is detached') }]);
    expect(devicesOf(after)).toEqual([]);
  });

  it('a journal that names what is no volume is left alone', async () => {
    const { bench } = await launched();
    const after = kill9(bench);
    appendFileSync(journal(after), '{"event":"devices","vifs":[],"volumes":[{"device":"../x"}]}\n');
    expect((await after.open()).recoveries).toMatchObject([{ action: 'left' }]);
  });
});
