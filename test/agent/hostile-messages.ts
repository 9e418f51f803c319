// Requests that a stock host was sent, made wrong in every way that a broker lets through; the same for the same seed.
import { createHash } from 'node:crypto';
import { ownContext } from '../../src/agent/context.js';
import { mutate } from './mutate.js';
import { rows } from './traces.js';

type Json = Record<string, unknown>;
type Below = (bound: number) => number;

/** One mebibyte is more than a request may have. */
const OVERSIZE = 1_100_000;

/** None of them is a true command: no server has the uuids of the traces, and none disables the host. */
export function* hostileMessages(count: number, seed = 1): Generator<Buffer> {
  const requests = rows('libvirt').filter(({ kind, method }) => kind === 'in' && method in REPEATABLE);
  const below = generator(seed);
  let last: Buffer = Buffer.from('{}');
  for (let index = 0; index < count; index++) {
    const { method, args } = requests[below(requests.length)] as (typeof requests)[number];
    const uniqueId = createHash('sha256').update(`${seed}-${index}`).digest('hex').slice(0, 32);
    const message: Json = { method, args: structuredClone(args), version: '6.0', _unique_id: uniqueId };
    for (const [name, value] of Object.entries(ownContext())) message[`_context_${name}`] = value;
    // A replay now and then; it counts as one of them.
    if (below(20) !== 0) last = damaged(message, below);
    yield last;
  }
}

const REPEATABLE: Readonly<Record<string, true>> = {
  build_and_run_instance: true,
  stop_instance: true,
  start_instance: true,
  reboot_instance: true,
  pause_instance: true,
  unpause_instance: true,
  suspend_instance: true,
  resume_instance: true,
  get_instance_diagnostics: true,
  get_console_output: true,
  snapshot_instance: true,
  prep_resize: true,
  resize_instance: true,
  confirm_resize: true,
  terminate_instance: true,
};

/** As the wire has it. */
export function envelope(message: string): Buffer {
  return Buffer.from(JSON.stringify({ 'oslo.version': '2.0', 'oslo.message': message }));
}

const DAMAGES: readonly ((message: Json, below: Below) => Buffer | undefined)[] = [
  (message, below) => mutate(envelope(JSON.stringify(message)), below(2 ** 31) + 1),
  (message, below) => replace(message, below, junk(below)),
  (message, below) => replace(message, below, undefined),
  (message, below) => replace(message, below, nested(below(200) + 1)),
  (message, below) => {
    replace(message, below, '@number@');
    const numbers = ['1e400', '-1e999', '9'.repeat(400), '18446744073709551616', '9007199254740993', '-0'];
    const number = numbers[below(numbers.length)] ?? '0';
    return envelope(JSON.stringify(message).replace('"@number@"', number));
  },
  (message, below) => {
    const uuids = [
      '',
      '../../etc/passwd',
      'x'.repeat(4096),
      '%2e%2e',
      '00000000-0000-0000-0000-000000000000',
    ];
    const text = JSON.stringify(message);
    const uuid = JSON.stringify(uuids[below(uuids.length)]).slice(1, -1);
    return envelope(text.replaceAll(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, uuid));
  },
  (message, below) => {
    const field = ['method', 'version', 'namespace', '_unique_id', 'args'][below(5)] ?? 'method';
    message[field] = junk(below);
    return undefined;
  },
  (message) => {
    const own = '"__proto__":{"admin":true},"constructor":"x","nova_object.data":{"__proto__":7,';
    return envelope(JSON.stringify(message).replaceAll('"nova_object.data":{', own));
  },
  (message, below) => {
    message['_msg_id'] = message['_unique_id'];
    message['_reply_q'] = ['reply_nobody', '', 7, 'compute'][below(4)];
    return undefined;
  },
  (message, below) => replace(message, below, 'x'.repeat(below(50) === 0 ? OVERSIZE : 10_000)),
];

function damaged(message: Json, below: Below): Buffer {
  const damage = DAMAGES[below(DAMAGES.length)];
  return damage?.(message, below) ?? envelope(JSON.stringify(message));
}

/** Somewhere in the arguments. Undefined takes the field away. */
function replace(message: Json, below: Below, value: unknown): undefined {
  const places: (readonly [Json, string])[] = [];
  const visit = (holder: Json): void => {
    for (const [key, item] of Object.entries(holder)) {
      places.push([holder, key]);
      if (typeof item === 'object' && item !== null) visit(item as Json);
    }
  };
  visit(message['args'] as Json);
  const [holder, key] = places[below(places.length)] as readonly [Json, string];
  holder[key] = value;
}

function junk(below: Below): unknown {
  const values = [null, true, 7, -1, 1.5, '', 'text', [], ['text'], [[]], {}, { a: 1 }, { retry: 'text' }];
  return values[below(values.length)];
}

function nested(depth: number): unknown {
  let value: unknown = 'deep';
  for (let level = 0; level < depth; level++) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** mulberry32. */
function generator(seed: number): Below {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let bits = Math.imul(state ^ (state >>> 15), 1 | state);
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits;
    return Math.floor((((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}
