// A fake snapshot: the steps of a real one, and an image that is there, half there or gone.
import { createHash, randomUUID } from 'node:crypto';
import type { SnapshotOptions } from '../driver/compute-driver.js';
import { ComputeError } from '../driver/errors.js';
import type { SnapshotResult, SnapshotStep, SnapshotTarget } from '../driver/snapshot.js';
import { parseSnapshotFormat, parseSnapshotTarget } from '../driver/snapshot-schema.js';
import type { FakeCall } from './fake-call.js';
import type { FakeDomain, FakeHypervisor } from './fake-hypervisor.js';

const DISK_BYTES = 2 ** 20;
const IMAGE_BYTES = 2 ** 16;

export async function snapshotFake(
  hypervisor: FakeHypervisor,
  { instance, state }: FakeDomain,
  target: SnapshotTarget,
  options: SnapshotOptions,
  call: FakeCall,
): Promise<SnapshotResult> {
  const { uuid } = instance;
  const wanted = parseSnapshotTarget(target, uuid);
  const { format } = parseSnapshotFormat(options, uuid);
  const name = wanted.type === 'file' ? { path: wanted.path } : { imageId: wanted.imageId ?? randomUUID() };
  const key = name.path ?? name.imageId ?? '';
  refuse(hypervisor, uuid, key, wanted);
  const live = state === 'running' || state === 'paused';
  const stepsMs = { copy: 0, quiesce: 0, convert: 0, upload: 0 };
  const steps: readonly SnapshotStep[] = live
    ? ['copy', 'quiesce', 'convert', 'upload']
    : ['convert', 'upload'];
  hypervisor.setSnapshot(key, { instanceUuid: uuid, state: 'making' });
  try {
    for (const step of steps) {
      const begin = performance.now();
      options.onProgress?.({ step, doneBytes: 0, totalBytes: DISK_BYTES });
      await call.point(`snapshot.${step}`);
      options.onProgress?.({ step, doneBytes: DISK_BYTES, totalBytes: DISK_BYTES });
      stepsMs[step] = performance.now() - begin;
    }
    call.deadline.check();
  } catch (error) {
    hypervisor.removeSnapshot(key);
    throw error;
  }
  hypervisor.setSnapshot(key, { instanceUuid: uuid, state: 'whole' });
  return {
    ...name,
    format,
    sizeBytes: IMAGE_BYTES,
    virtualSizeBytes: DISK_BYTES,
    checksum: { algorithm: 'sha512', value: createHash('sha512').update(key).digest('hex') },
    how: live ? 'live' : 'cold',
    quiesced: false,
    pauseMs: 0,
    stepsMs,
  };
}

export function undoFakeSnapshot(hypervisor: FakeHypervisor, uuid: string, target: SnapshotTarget): void {
  const wanted = parseSnapshotTarget(target, uuid);
  const key = wanted.type === 'file' ? wanted.path : wanted.imageId;
  if (key !== undefined && hypervisor.snapshots.get(key)?.state === 'making') hypervisor.removeSnapshot(key);
}

function refuse(hypervisor: FakeHypervisor, uuid: string, key: string, target: SnapshotTarget): void {
  const context = { operation: 'snapshot', instanceUuid: uuid };
  for (const { instanceUuid, state } of hypervisor.snapshots.values()) {
    if (instanceUuid !== uuid || state === 'whole') continue;
    throw new ComputeError('INSTANCE_BUSY', `snapshot: one of instance ${uuid} is under way already`, {
      ...context,
      retryable: true,
    });
  }
  if (target.type === 'file' && hypervisor.snapshots.has(key)) {
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `snapshot: ${key} is there already and is left as it is`,
      context,
    );
  }
}
