// A save whose answer was lost: whether it was done is read, not guessed.
import { expect, it } from 'vitest';
import type { ComputeHost } from '../../../src/agent/compute-host.js';
import { ownContext } from '../../../src/agent/context.js';
import { InstanceRecord } from '../../../src/agent/instance-record.js';
import { NovaObject } from '../../../src/agent/nova-object.js';
import { ComputeError } from '../../../src/driver/errors.js';

const UUID = '00000000-0000-4000-8000-000000000001';
const METADATA = { shelved_image_id: 'x', shelved_at: 'then' };

function instance(fields: Record<string, unknown>): NovaObject {
  return NovaObject.create({ name: 'Instance', version: '2.7', fields: { uuid: UUID, ...fields } });
}

/** How often it was saved, where the first answer is lost and then these fields are stored. */
async function saves(stored: Record<string, unknown>): Promise<number> {
  let count = 0;
  const conductor = {
    async save() {
      if (++count === 1)
        throw new ComputeError('CONNECTION_LOST', 'lost', { operation: 'call object_action' });
    },
    instance: async () => instance(stored),
  };
  const host = { conductor, signal: new AbortController().signal } as unknown as ComputeHost;
  const record = new InstanceRecord(host, instance({ vm_state: 'active' }), ownContext());
  await record.save({ vm_state: 'shelved', system_metadata: METADATA }, ['shelving']);
  expect(record.object.get('vm_state')).toBe('shelved');
  return count;
}

it('was done where all that is stored is as it was to be, though not all is read', async () => {
  expect(await saves({ vm_state: 'shelved', system_metadata: { ...METADATA } })).toBe(1);
  expect(await saves({ vm_state: 'shelved' })).toBe(1);
});

it('is done again where anything that is stored differs', async () => {
  expect(await saves({ vm_state: 'active' })).toBe(2);
  expect(await saves({ vm_state: 'shelved', system_metadata: {} })).toBe(2);
});
