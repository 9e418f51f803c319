// One run of the work for all who wait; stopped by the last to leave, and by nobody else.
import { describe, expect, it } from 'vitest';
import { type Flight, SingleFlight, type Waiter } from '../../../src/image/single-flight.js';

interface Gate {
  readonly promise: Promise<string>;
  resolve(value: string): void;
  reject(error: Error): void;
}

function gate(): Gate {
  let settle: Omit<Gate, 'promise'> | undefined;
  const promise = new Promise<string>((resolve, reject) => {
    settle = { resolve, reject };
  });
  if (!settle) throw new Error('the executor of a promise runs at once');
  return { promise, ...settle };
}

function waiter(options: Partial<Waiter<number>> = {}): Waiter<number> {
  return { operation: 'fetch', timeoutMs: 10_000, onProgress: () => undefined, limit: 1, ...options };
}

/** Work that ends as its flight is told to stop, after its undo. */
function stoppable(undone: () => void): (flight: Flight<number>) => Promise<string> {
  return (flight) =>
    new Promise((_, reject) => {
      flight.signal.addEventListener('abort', () => {
        setImmediate(() => {
          undone();
          reject(new Error('stopped'));
        });
      });
    });
}

describe('single flight', () => {
  it('runs the work once for all who come while it runs, and anew for who comes later', async () => {
    const flights = new SingleFlight<string, number>();
    const g = gate();
    let runs = 0;
    const work = (): Promise<string> => {
      runs++;
      return g.promise;
    };
    const all = Promise.all([1, 2, 3].map(() => flights.run('a', waiter(), work)));
    g.resolve('x');
    expect(await all).toEqual([
      { result: 'x', joined: false },
      { result: 'x', joined: true },
      { result: 'x', joined: true },
    ]);
    expect(runs).toBe(1);
    await flights.run('a', waiter(), work);
    expect(runs).toBe(2);
  });

  it('keeps different keys apart', async () => {
    const flights = new SingleFlight<string, number>();
    const [a, b] = await Promise.all([
      flights.run('a', waiter(), async () => 'a'),
      flights.run('b', waiter(), async () => 'b'),
    ]);
    expect([a.result, b.result]).toEqual(['a', 'b']);
  });

  it('goes on for the others when one leaves', async () => {
    const flights = new SingleFlight<string, number>();
    const g = gate();
    const leaving = new AbortController();
    const first = flights.run('a', waiter({ signal: leaving.signal }), () => g.promise);
    const second = flights.run('a', waiter(), () => g.promise);
    leaving.abort();
    await expect(first).rejects.toMatchObject({ code: 'ABORTED' });
    g.resolve('x');
    expect(await second).toEqual({ result: 'x', joined: true });
  });

  it('stops the work when the last one leaves, who rejects after its undo', async () => {
    const flights = new SingleFlight<string, number>();
    const leaving = new AbortController();
    let undone = false;
    const work = stoppable(() => {
      undone = true;
    });
    const first = flights.run('a', waiter({ signal: leaving.signal }), work);
    const second = flights.run('a', waiter({ timeoutMs: 20 }), work);
    await expect(second).rejects.toMatchObject({ code: 'TIMEOUT', retryable: true });
    expect(undone).toBe(false);
    leaving.abort();
    await expect(first).rejects.toMatchObject({ code: 'ABORTED' });
    expect(undone).toBe(true);
  });

  it('does not let anyone join a run that was told to stop', async () => {
    const flights = new SingleFlight<string, number>();
    const leaving = new AbortController();
    const stopped = flights.run(
      'a',
      waiter({ signal: leaving.signal }),
      stoppable(() => undefined),
    );
    leaving.abort();
    await new Promise<void>((resolve) => queueMicrotask(resolve));
    await new Promise<void>((resolve) => queueMicrotask(resolve));
    const next = flights.run('a', waiter(), async () => 'fresh');
    await expect(stopped).rejects.toMatchObject({ code: 'ABORTED' });
    expect((await next).result).toBe('fresh');
  });

  it('gives the failure to all, and forgets it', async () => {
    const flights = new SingleFlight<string, number>();
    const g = gate();
    const both = [1, 2].map(() => flights.run('a', waiter(), () => g.promise));
    g.reject(new Error('broken'));
    for (const one of both) await expect(one).rejects.toThrow('broken');
    expect((await flights.run('a', waiter(), async () => 'x')).result).toBe('x');
  });

  it('refuses who is aborted already without starting anything', async () => {
    const flights = new SingleFlight<string, number>();
    let runs = 0;
    const run = flights.run('a', waiter({ signal: AbortSignal.abort() }), async () => {
      runs++;
      return 'x';
    });
    await expect(run).rejects.toMatchObject({ code: 'ABORTED' });
    expect(runs).toBe(0);
  });

  it('reports to all, tells who joins what was last, and knows the largest limit of those present', async () => {
    const flights = new SingleFlight<string, number>();
    const g = gate();
    const seen: string[] = [];
    let flight: Flight<number> | undefined;
    const work = (f: Flight<number>): Promise<string> => {
      flight = f;
      f.report(1);
      return g.promise;
    };
    const leaving = new AbortController();
    const first = flights.run('a', waiter({ onProgress: (n) => seen.push(`a${n}`) }), work);
    const second = flights.run(
      'a',
      waiter({ onProgress: (n) => seen.push(`b${n}`), limit: 5, signal: leaving.signal }),
      work,
    );
    expect(flight?.limit).toBe(5);
    flight?.report(2);
    leaving.abort();
    await expect(second).rejects.toMatchObject({ code: 'ABORTED' });
    expect(flight?.limit).toBe(1);
    flight?.report(3);
    g.resolve('x');
    await first;
    expect(seen).toEqual(['a1', 'b1', 'a2', 'b2', 'a3']);
  });
});
