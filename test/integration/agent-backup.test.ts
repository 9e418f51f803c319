// Backups and their rotation, soft-deleted servers and their end.
import { describe, expect, it, vi } from 'vitest';
import { type ImageBench, imageServices } from '../agent/image-bench.js';
import { HOST, WAIT } from '../agent/sent.js';

const open = imageServices();

const BACKUP = 'backup_instance';
const states = ({ conductor }: ImageBench, uuid: string): unknown[] =>
  ['vm_state', 'task_state', 'power_state'].map((name) => conductor.instance(uuid).get(name));

describe('a backup', () => {
  it('is a snapshot, and the oldest of its instance and type go', async () => {
    const bench = await open();
    const { conductor, hypervisor } = bench;
    const agent = await bench.open();
    const uuid = await bench.server(agent);
    const record = { image_type: 'backup', backup_type: 'daily', instance_uuid: uuid };
    const backup = (fields: object = {}): Promise<string> => bench.image({ ...record, ...fields });
    const others = [
      await backup({ backup_type: 'weekly' }),
      await backup({ image_type: 'snapshot' }),
      await backup({ instance_uuid: '11111111-2222-4333-8444-555555555555' }),
    ];
    const old: string[] = [];
    for (let each = 0; each < 3; each++) old.push(await backup());
    others.push(await bench.image(record, 'none'));
    const newest = await backup();
    const args = { image_id: newest, backup_type: 'daily', rotation: 2 };
    await bench.done(uuid, BACKUP, { task_state: 'image_backup' }, args);
    expect(conductor.finished(`compute_${BACKUP}`).at(-1)?.failure).toBeUndefined();
    const written = conductor.written.filter(({ object }) => object === 'Instance');
    expect(written.map(({ fields, expected }) => [fields['task_state'], expected])).toEqual([
      ['image_backup', ['image_backup']],
      ['image_pending_upload', ['image_backup']],
      ['image_uploading', ['image_pending_upload']],
      [null, ['image_backup', 'image_uploading']],
    ]);
    expect(states(bench, uuid)).toEqual(['active', null, 1]);
    expect(hypervisor.snapshots.get(newest)).toMatchObject({ state: 'whole' });
    const there = (ids: readonly string[]): Promise<number[]> => Promise.all(ids.map(bench.imageStatus));
    expect(await there([...old, newest])).toEqual([404, 404, 200, 200]);
    expect(await there(others)).toEqual([200, 200, 200, 200]);
  });

  it('that cannot be removed is none of a newer one; a rotation that is none changes nothing', async () => {
    const bench = await open();
    const { conductor } = bench;
    const agent = await bench.open();
    const uuid = await bench.server(agent);
    const record = { image_type: 'backup', backup_type: 'daily', instance_uuid: uuid };
    const kept = await bench.image({ ...record, protected: true });
    const [old, newest] = [await bench.image(record), await bench.image(record)];
    const args = { image_id: newest, backup_type: 'daily', rotation: 1 };
    for (const rotation of [-1, 1.5, '1', null]) {
      await bench.done(uuid, BACKUP, { task_state: 'image_backup' }, { ...args, rotation });
      expect(conductor.finished(`compute_${BACKUP}`).at(-1)?.failure).toContain('not acceptable');
      expect(states(bench, uuid)).toEqual(['active', null, 1]);
    }
    expect(await bench.imageStatus(old)).toBe(200);
    await bench.done(uuid, BACKUP, { task_state: 'image_backup' }, args);
    expect(conductor.finished(`compute_${BACKUP}`).at(-1)?.failure).toBeUndefined();
    const left = await Promise.all([kept, old, newest].map(bench.imageStatus));
    expect(left).toEqual([200, 404, 200]);
  });

  it('that a process had taken when it died is made, and rotated', async () => {
    const bench = await open();
    const { conductor } = bench;
    const first = await bench.open();
    const uuid = await bench.server(first);
    await first.close();
    const record = { image_type: 'backup', backup_type: 'daily', instance_uuid: uuid };
    const [old, newest] = [await bench.image(record), await bench.image(record)];
    const args = { image_id: newest, backup_type: 'daily', rotation: 1 };
    await bench.taken(uuid, BACKUP, { task_state: 'image_uploading' }, args);
    await bench.open();
    await vi.waitFor(() => expect(conductor.finished(`compute_${BACKUP}`)).toHaveLength(1), WAIT);
    expect(states(bench, uuid)).toEqual(['active', null, 1]);
    expect([await bench.imageStatus(old), await bench.imageStatus(newest)]).toEqual([404, 200]);
  });
});

describe('a server that is soft-deleted', () => {
  it('rests until it is restored, or deleted', async () => {
    const bench = await open();
    const { conductor, hypervisor } = bench;
    const agent = await bench.open();
    const uuid = await bench.server(agent);
    await bench.done(uuid, 'soft_delete_instance', { task_state: 'soft-deleting' });
    expect(states(bench, uuid)).toEqual(['soft-delete', null, 4]);
    const writes = (): unknown[] =>
      conductor.written.filter(({ object }) => object === 'Instance').map(({ expected }) => expected);
    expect(writes()).toEqual([['soft-deleting']]);
    // Somebody runs it, past Nova.
    hypervisor.start(uuid, '');
    await vi.waitFor(() => expect(writes()).toEqual([['soft-deleting'], [null]]), WAIT);
    expect((await agent.node.get(uuid)).powerState).toBe('shutdown');
    await bench.done(uuid, 'restore_instance', { task_state: 'restoring' });
    expect(states(bench, uuid)).toEqual(['active', null, 1]);

    await bench.done(uuid, 'soft_delete_instance', { task_state: 'soft-deleting' });
    expect(await bench.allocations(uuid)).not.toEqual({});
    await bench.done(uuid, 'terminate_instance', { task_state: 'deleting' });
    expect(conductor.instances.has(uuid)).toBe(false);
    expect(await agent.node.list()).toEqual([]);
    await bench.released(uuid);
  });

  it('is deleted when its time is over, and not before', async () => {
    const bench = await open();
    const { conductor } = bench;
    const first = await bench.open();
    const uuid = await bench.server(first);
    await bench.done(uuid, 'soft_delete_instance', { task_state: 'soft-deleting' });
    conductor.instance(uuid).set('deleted_at', new Date(Date.now() - 3_600_000));
    await first.close();
    const second = await bench.open();
    expect(await second.node.list()).toHaveLength(1);
    await second.close();
    const third = await bench.open({ reclaimIntervalMs: 7_200_000 });
    expect(await third.node.list()).toHaveLength(1);
    await third.close();
    const fourth = await bench.open({ reclaimIntervalMs: 600_000 });
    expect(await fourth.node.list()).toEqual([]);
    expect(conductor.instances.has(uuid)).toBe(false);
    await bench.released(uuid);
    expect(conductor.deleted.get(uuid)?.get('host')).toBe(HOST);
  });
});
