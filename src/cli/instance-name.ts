// Which instance a person means: its UUID, the beginning of it, or the name it was given.
import { ComputeError, type ComputeNode, type InstanceView } from '../index.js';

/** Throws `INSTANCE_NOT_FOUND`, and `INVALID_ARGUMENT` where several match. */
export async function findInstance(node: ComputeNode, wanted: string): Promise<InstanceView> {
  const all = await node.list();
  const exact = all.filter(({ uuid, name }) => uuid === wanted || name === wanted);
  const named = exact.length > 0 ? exact : all.filter(({ displayName }) => displayName === wanted);
  const found =
    named.length > 0 || !/^[0-9a-f-]{4,}$/.test(wanted)
      ? named
      : all.filter(({ uuid }) => uuid.startsWith(wanted));
  const [instance] = found;
  if (instance === undefined) {
    throw new ComputeError(
      'INSTANCE_NOT_FOUND',
      `no instance is named ${JSON.stringify(wanted)}; node-compute list shows them`,
    );
  }
  if (found.length > 1) {
    const uuids = found.map(({ uuid }) => uuid);
    throw new ComputeError(
      'INVALID_ARGUMENT',
      `${JSON.stringify(wanted)} means ${found.length} instances: ${uuids.join(', ')}`,
      {
        details: { uuids },
      },
    );
  }
  return instance;
}
