// A volume that is swapped for another: the guest has one of them, Cinder and Nova know which, whatever fails or dies meanwhile.
import { beforeEach, expect, it, vi } from 'vitest';
import { type ComputeAgent, ComputeError } from '../../src/index.js';
import { type FakeVolume, REQUESTS } from '../agent/fake-cinder.js';
import { faultServices } from '../agent/fault-bench.js';
import { WAIT } from '../agent/sent.js';
import { VolumeBench } from '../agent/volume-bench.js';

const services = faultServices();
let bench: VolumeBench;
let agent: ComputeAgent;
let from: FakeVolume;
let to: FakeVolume;

beforeEach(async () => {
  bench = await VolumeBench.open(services());
  agent = await bench.ready();
  [from, to] = [bench.cinder.volume(), bench.cinder.volume({ size: 2 })];
  await bench.attached(from);
});
const { show, connect, complete, disconnect } = REQUESTS;

function expectSwapped(): void {
  expect(bench.disks).toEqual([to.id]);
  bench.expectAttached(to);
  bench.expectGone(from);
  expect(bench.mapping(to)?.get('volume_size')).toBe(2);
  expect(bench.mapping(to)?.get('attachment_id')).toBe((bench.attachmentsOf(to)[0] as { id: string }).id);
}

function expectKept(): void {
  bench.expectAttached(from);
  bench.expectGone(to);
}

it('the guest goes on with the other one, which can be detached', async () => {
  expect(await bench.done(bench.swapping(from, to))).toBeUndefined();
  expectSwapped();
  expect(await bench.done(bench.detaching(to))).toBeUndefined();
  bench.expectGone(to);
});

it.each([
  ['the other is not there', show],
  ['the other cannot be reached', connect],
])('it stays with the first where %s', async (_what, at) => {
  bench.cinder.mishaps.push({ at, mishap: 'refused' });
  expect(await bench.done(bench.swapping(from, to))).toContain('planted');
  expectKept();
  expect(bench.here.faultsTold).toHaveLength(1);
});

it("a message that names another server's attachment ends none", async () => {
  const sent = bench.swapping(from, to);
  const other = bench.cinder.volume();
  other.status = 'in-use';
  const { id: new_attachment_id } = bench.cinder.reserve(other, '00000000-0000-4000-8000-00000000000a');
  const before = structuredClone(bench.attachmentsOf(other));
  for (const ids of [{}, { new_volume_id: other.id }, { old_volume_id: other.id, new_volume_id: other.id }]) {
    const args = { ...sent.args, new_attachment_id, ...ids };
    expect(await bench.done({ ...sent, args })).toContain('has no volume');
    expect(bench.attachmentsOf(other)).toEqual(before);
  }
  expect(bench.disks).toEqual([from.id]);
});

it('it goes on with the other one once the hypervisor is back', async () => {
  const fail = new ComputeError('CONNECTION_LOST', 'libvirtd is away', { retryable: true });
  bench.here.faults.add({ at: 'getInfo', fail, times: 2 });
  expect(await bench.done(bench.swapping(from, to))).toBeUndefined();
  expectSwapped();
});

it('it stays with the first where the copy fails', async () => {
  bench.here.faults.add({ at: 'swapVolume', fail: new ComputeError('HYPERVISOR', 'no such luck') });
  expect(await bench.done(bench.swapping(from, to))).toBe('no such luck');
  expectKept();
});

it('it stays with the first where Cinder itself would move the data, which hears of it', async () => {
  from.migration_status = 'migrating';
  expect(await bench.done(bench.swapping(from, to))).toContain('not moved by Cinder');
  expectKept();
  expect(from.migration_status).toBe('error');
});

it('it goes on with the other where only Cinder does not follow', async () => {
  bench.cinder.mishaps.push({ at: complete, mishap: 'refused' });
  expect(await bench.done(bench.swapping(from, to))).toBeUndefined();
  expect(bench.disks).toEqual([to.id]);
  expect(bench.mapping(to)).toBeDefined();
  bench.expectGone(from);
  expect(bench.here.lines).toContainEqual(expect.stringContaining('not told to be in use'));
});

it('a Cinder that is away, or whose answers are lost, is waited for', async () => {
  for (const at of [show, connect, complete, disconnect]) {
    bench.cinder.mishaps.push({ at, mishap: 'away' }, { at, mishap: 'answer-lost' });
  }
  expect(await bench.done(bench.swapping(from, to))).toBeUndefined();
  expectSwapped();
});

it.each(
  [show, connect, complete, disconnect].flatMap((at) => [
    [at, 'hangs-before' as const],
    [at, 'hangs' as const],
  ]),
)('an agent that dies at %s, which %s, goes on with it', async (at, mishap) => {
  const before = bench.cinder.seen.filter((one) => one === at).length;
  bench.cinder.mishaps.push({ at: at as string, mishap: mishap as 'hangs' });
  const sent = bench.swapping(from, to);
  await bench.here.cast(sent);
  await vi.waitFor(
    () => expect(bench.cinder.seen.filter((one) => one === at).length).toBeGreaterThan(before),
    WAIT,
  );
  await agent.close({ graceMs: 0 });
  await bench.agent();
  expect(await bench.ended(sent)).toBeUndefined();
  expectSwapped();
});

it('one that ended three processes leaves the guest with the first', async () => {
  const sent = bench.swapping(from, to);
  await agent.close();
  await bench.here.leave(sent, 3);
  await bench.agent();
  expect(await bench.ended(sent)).toContain('is not tried again');
  expectKept();
});
