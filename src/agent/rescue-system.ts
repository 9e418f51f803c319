// What a rescue of Nova's boots, and what that system is told.
import type { RescueNodeOptions } from '../node/types.js';
import type { ComputeHost } from './compute-host.js';
import type { CommandArguments } from './instance-command.js';
import type { Fields, InstanceRecord } from './instance-record.js';
import { configDriveOf } from './launch-message.js';

/**
 * The image that the user names, else the one that its own goes back to: Nova's ComputeManager._get_rescue_image. The password
 * reaches the guest by its drive alone.
 */
export async function rescueSystem(
  { images, signal }: ComputeHost,
  { object }: InstanceRecord,
  { rescue_image_ref: named, rescue_password: password }: CommandArguments,
): Promise<Pick<RescueNodeOptions, 'image' | 'configDrive'>> {
  const configDrive = configDriveOf(object, { password });
  const { image_base_image_ref: base } = (object.get('system_metadata') ?? {}) as Fields;
  const own = object.get('image_ref');
  const id = named || base || own;
  const image = id === own ? undefined : await images.find(String(id), { signal });
  return { ...(image && { image }), ...(configDrive && { configDrive }) };
}
