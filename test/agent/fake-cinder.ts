// Cinder's volumes and attachments in memory, by the rules of the real one; what goes by is seen, and may go wrong.
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

type Fields = Readonly<Record<string, unknown>>;

export interface FakeVolume {
  readonly id: string;
  size: number;
  status: string;
  readonly multiattach: boolean;
  readonly encrypted: boolean;
  migration_status: string | null;
  /** How hosts reach it. */
  readonly connection: Fields;
}

export interface FakeAttachment {
  readonly id: string;
  readonly volume_id: string;
  readonly instance: string;
  status: string;
  connector: Fields | undefined;
}

/**
 * `away`: it does not hear of it. `answer-lost`: it does it, and nobody hears. `refused`: it says no. `hangs`: it does it, and
 * does not answer for as long as anybody waits; `hangs-before`: it does not do it either. `nonsense`: it answers with what is
 * no answer.
 */
export type Mishap = 'away' | 'answer-lost' | 'refused' | 'nonsense' | 'hangs' | 'hangs-before';

/** Of all that a host asks of it, by method and kind. */
export const REQUESTS = {
  show: 'GET volumes',
  connect: 'PUT attachments',
  complete: 'POST attachments',
  disconnect: 'DELETE attachments',
  roll: 'POST volumes',
  remove: 'DELETE volumes',
} as const;

export class FakeCinder {
  readonly volumes = new Map<string, FakeVolume>();
  readonly attachments = new Map<string, FakeAttachment>();
  /** `PUT attachments`. */
  readonly seen: string[] = [];
  /** Of the next requests of that kind, one each. */
  readonly mishaps: { readonly at: string; readonly mishap: Mishap }[] = [];
  readonly #server: Server;

  static async start(): Promise<FakeCinder> {
    const cinder = new FakeCinder();
    await new Promise<void>((resolve) => cinder.#server.listen(0, '127.0.0.1', resolve));
    return cinder;
  }

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy());
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v3`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  volume(fields: Partial<FakeVolume> = {}): FakeVolume {
    const id = randomUUID();
    const connection = { driver_volume_type: 'local', device_path: `/dev/volumes/${id}`, access_mode: 'rw' };
    const usual = { id, size: 1, status: 'available', multiattach: false, encrypted: false };
    const rest = { migration_status: null, connection };
    const volume = { ...usual, ...rest, ...fields };
    this.volumes.set(id, volume);
    return volume;
  }

  /** As Nova's API reserves a volume for an instance. */
  reserve(volume: FakeVolume, instance: string): FakeAttachment {
    const attachment = {
      id: randomUUID(),
      volume_id: volume.id,
      instance,
      status: 'reserved',
      connector: undefined,
    };
    this.attachments.set(attachment.id, attachment);
    volume.status = 'reserved';
    return attachment;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, , kind = '', id = ''] = (request.url ?? '').split('/');
    const at = `${request.method} ${kind}`;
    this.seen.push(at);
    const pieces: Buffer[] = [];
    for await (const piece of request) pieces.push(piece as Buffer);
    const text = Buffer.concat(pieces).toString();
    const next = this.mishaps.findIndex((one) => one.at === at);
    const [{ mishap } = { mishap: undefined }] = next < 0 ? [] : this.mishaps.splice(next, 1);
    if (mishap === 'hangs-before') return;
    if (mishap === 'away') return answer(response, 503, undefined);
    if (mishap === 'nonsense') return answer(response, 200, { volume: [], attachment: { id: 7 } });
    if (mishap === 'refused') return answer(response, 400, refusal('badRequest', 'planted'));
    const [status, body] = this.#answer(request, kind, id, text === '' ? {} : JSON.parse(text));
    if (mishap === 'hangs') return;
    if (mishap === 'answer-lost') response.destroy();
    else answer(response, status, body);
  }

  #answer({ method, headers }: IncomingMessage, kind: string, id: string, body: Fields): [number, unknown] {
    if (headers['openstack-api-version'] !== 'volume 3.44')
      return [404, refusal('itemNotFound', 'of an old API')];
    const missing: [number, unknown] = [404, refusal('itemNotFound', `${kind} ${id} could not be found.`)];
    if (kind === 'volumes') {
      const volume = this.volumes.get(id);
      return volume ? this.#onVolume(volume, method ?? '', body) : missing;
    }
    const attachment = this.attachments.get(id);
    if (!attachment) return missing;
    // Others are asked about by Cinder at Nova.
    const isService = headers['x-service-token'] !== undefined;
    if (method === 'DELETE' && attachment.connector && !isService) {
      return [409, refusal('conflictingRequest', 'Detach volume from instance using the Compute API')];
    }
    return this.#onAttachment(attachment, method ?? '', body);
  }

  #onVolume(volume: FakeVolume, method: string, body: Fields): [number, unknown] {
    if (method === 'GET') return [200, { volume: { ...volume, connection: undefined, attachments: [] } }];
    if (method === 'DELETE') {
      if (volume.status !== 'available') return [400, refusal('badRequest', `it is ${volume.status}`)];
      this.volumes.delete(volume.id);
      return [202, undefined];
    }
    if ('os-migrate_volume_completion' in body) {
      volume.migration_status = (body['os-migrate_volume_completion'] as Fields)['error']
        ? 'error'
        : 'success';
      return [200, { save_volume_id: volume.id }];
    }
    if (!('os-roll_detaching' in body)) return [400, refusal('badRequest', 'no such action')];
    if (volume.status === 'detaching') volume.status = 'in-use';
    return [202, undefined];
  }

  #onAttachment(attachment: FakeAttachment, method: string, body: Fields): [number, unknown] {
    const volume = this.volumes.get(attachment.volume_id) as FakeVolume;
    const { connector } = attachment;
    if (method === 'GET') return [200, described(attachment, volume)];
    if (method === 'PUT') {
      // The real one would make a further way to it.
      if (connector) return [400, refusal('badRequest', 'it has a connector already')];
      attachment.connector = (body['attachment'] as { connector: Fields }).connector;
      attachment.status = volume.status = 'attaching';
      return [200, described(attachment, volume)];
    }
    if (method === 'POST') {
      attachment.status = 'attached';
      volume.status = 'in-use';
      return [204, undefined];
    }
    this.attachments.delete(attachment.id);
    const others = [...this.attachments.values()].some((one) => one.volume_id === volume.id);
    volume.status = others ? 'in-use' : 'available';
    return [200, { attachments: [] }];
  }
}

function described({ connector, ...fields }: FakeAttachment, { connection }: FakeVolume): Fields {
  const info = connector ? { ...connection, attachment_id: fields.id } : {};
  return { attachment: { ...fields, attached_at: null, detached_at: null, connection_info: info } };
}

function refusal(name: string, message: string): Fields {
  return { [name]: { code: 400, message } };
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(body === undefined ? undefined : JSON.stringify(body));
}
