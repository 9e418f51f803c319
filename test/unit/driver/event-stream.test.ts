// A slow, a leaving and an aborted reader must never hold up the source, nor miss events without being told.
import { describe, expect, it } from 'vitest';
import { EventStream } from '../../../src/driver/event-stream.js';
import type { DriverEvent } from '../../../src/driver/model.js';

const event = (name: string) =>
  ({ type: 'reboot', uuid: '8d5e7b0a-3a6b-4f0e-9a6e-0b6f4c7a1d2e', name }) as const;

async function drain(events: AsyncIterable<DriverEvent>): Promise<DriverEvent[]> {
  const read: DriverEvent[] = [];
  for await (const item of events) read.push(item);
  return read;
}

describe('EventStream', () => {
  it('numbers events at the source and gives each consumer all of them in order', async () => {
    const stream = new EventStream();
    const [first, second] = [stream.subscribe(), stream.subscribe()];
    for (const name of ['a', 'b', 'c']) stream.publish(event(name));
    stream.close();
    for (const events of [await drain(first), await drain(second)]) {
      expect(events.map((e) => e.sequence)).toEqual([1, 2, 3]);
      expect(events.map((e) => 'name' in e && e.name)).toEqual(['a', 'b', 'c']);
    }
  });

  it('keeps a timestamp that the source gave and fills in a missing one', () => {
    const stream = new EventStream();
    const before = Date.now();
    expect(stream.publish({ ...event('a'), timestamp: 42 }).timestamp).toBe(42);
    expect(stream.publish(event('b')).timestamp).toBeGreaterThanOrEqual(before);
  });

  it('gives a subscriber only what is published after it subscribed, read or not', async () => {
    const stream = new EventStream();
    stream.publish(event('before'));
    const events = stream.subscribe();
    stream.publish(event('after'));
    stream.close();
    expect((await drain(events)).map((e) => e.sequence)).toEqual([2]);
  });

  it('drops the oldest for a slow reader and says how many in one gap event', async () => {
    const stream = new EventStream(4);
    const slow = stream.subscribe();
    for (let i = 0; i < 10; i++) stream.publish(event(`e${i}`));
    stream.close();
    const read = await drain(slow);
    expect(read[0]).toMatchObject({ type: 'gap', count: 6, sequence: 6 });
    expect(read.map((e) => e.sequence)).toEqual([6, 7, 8, 9, 10]);
  });

  it('keeps order across many wraps of the buffer', async () => {
    const stream = new EventStream(3);
    const reader = stream.subscribe();
    const seen: number[] = [];
    for (let i = 1; i <= 100; i++) {
      stream.publish(event(`e${i}`));
      if (i % 2 === 0) {
        for (let n = 0; n < 2; n++) seen.push((await reader.next()).value.sequence);
      }
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  });

  it('wakes readers that wait already, several at once', async () => {
    const stream = new EventStream();
    const reader = stream.subscribe();
    const waits = [reader.next(), reader.next()];
    stream.publish(event('a'));
    stream.publish(event('b'));
    const results = await Promise.all(waits);
    expect(results.map((r) => r.value.sequence)).toEqual([1, 2]);
  });

  it('ends waiting readers at close, and subscriptions made after it', async () => {
    const stream = new EventStream();
    const wait = stream.subscribe().next();
    stream.close();
    stream.close();
    expect((await wait).done).toBe(true);
    expect((await stream.subscribe().next()).done).toBe(true);
  });

  it('ends at once on a signal, fired before or after, and drops what was buffered', async () => {
    const stream = new EventStream();
    const controller = new AbortController();
    const reader = stream.subscribe({ signal: controller.signal });
    const waiting = stream.subscribe({ signal: controller.signal }).next();
    controller.abort();
    stream.publish(event('late'));
    expect((await waiting).done).toBe(true);
    expect((await reader.next()).done).toBe(true);
    expect((await stream.subscribe({ signal: controller.signal }).next()).done).toBe(true);
    expect(stream.consumers).toBe(0);
  });

  it('forgets a reader that breaks out of its loop', async () => {
    const stream = new EventStream();
    const reader = stream.subscribe();
    stream.publish(event('a'));
    for await (const item of reader) {
      expect(item.sequence).toBe(1);
      break;
    }
    expect(stream.consumers).toBe(0);
  });

  it('refuses a capacity that could hold nothing', () => {
    expect(() => new EventStream(0)).toThrow(RangeError);
  });
});
