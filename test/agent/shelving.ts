// What is sent, and stored, of servers that are shelved.
import { HOST } from './sent.js';

/** Of an unshelving, as the conductor sends it, with what Glance says of the image. */
export function unshelving(imageId: string): Record<string, unknown> {
  const image = {
    id: imageId,
    name: 'x-shelved',
    disk_format: 'raw',
    container_format: 'bare',
    properties: {},
  };
  return { image, filter_properties: {}, node: 'host', request_spec: null, accel_uuids: [] };
}

/** The keys in its system metadata. */
export function shelvedNow(imageId: string): Record<string, unknown> {
  return { shelved_image_id: imageId, shelved_at: '2026-11-28T10:00:00.000', shelved_host: HOST };
}
