// rebuild_instance: new disks from an image, on this host.
import { ComputeError } from '../driver/errors.js';
import type { ComputeHost } from './compute-host.js';
import { type CommandArguments, instanceCommand } from './instance-command.js';
import { powerCode } from './instance-record.js';
import { configDriveOf, imageOf } from './launch-message.js';
import { NovaObject } from './nova-object.js';
import type { RpcMethod } from './rpc-endpoint.js';

const STATES = ['rebuilding', 'rebuild_block_device_mapping', 'rebuild_spawning'];

/** Nova's ComputeManager.rebuild_instance, without evacuation from another host. */
export function rebuildCommand(host: ComputeHost): RpcMethod {
  const { node, signal, shutdownTimeoutMs } = host;
  return instanceCommand(host, {
    event: 'compute_rebuild_instance',
    pending: STATES,
    run: async (record, args, isRepeated) => {
      const { uuid, object } = record;
      refuseEvacuation(host, uuid, args);
      const { new_pass: password, injected_files: files } = args;
      const configDrive = configDriveOf(object, { password, files });
      const image = imageOf(uuid, imageFields(args));
      const [asked = '', mapping = '', spawning = ''] = STATES;
      const power = powerCode(await record.powerState());
      await record.save({ task_state: mapping, power_state: power }, isRepeated ? STATES : [asked]);
      await record.save({ task_state: spawning }, [mapping]);
      const request = {
        image,
        name: String(object.get('display_name') || uuid),
        preserveEphemeral: args['preserve_ephemeral'] === true,
        ...(configDrive && { configDrive }),
      };
      await node.rebuild(uuid, request, { signal, shutdownTimeoutMs });
      const state = await record.powerState();
      await record.save(
        {
          vm_state: state === 'running' ? 'active' : 'stopped',
          task_state: null,
          power_state: powerCode(state),
          launched_at: new Date(),
        },
        [spawning],
      );
    },
  });
}

/** The API has put the image's metadata into the request of the scheduler, as objects. */
function imageFields({ request_spec: spec, image_ref: id }: CommandArguments): Record<string, unknown> {
  const image = spec instanceof NovaObject ? spec.get('image') : undefined;
  if (!(image instanceof NovaObject)) return { id };
  const properties = image.get('properties');
  return {
    ...fieldsOf(image),
    id,
    properties: properties instanceof NovaObject ? fieldsOf(properties) : {},
  };
}

function fieldsOf(object: NovaObject): Record<string, unknown> {
  return Object.fromEntries(object.fields.map((field) => [field, object.get(field)]));
}

function refuseEvacuation(
  { name }: ComputeHost,
  uuid: string,
  { recreate, evacuate }: CommandArguments,
): void {
  if (recreate !== true && evacuate !== true) return;
  throw new ComputeError('UNSUPPORTED', `host ${name} does not take over ${uuid} from another host`, {
    operation: 'rebuild',
    instanceUuid: uuid,
  });
}
