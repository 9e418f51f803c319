import { expect, it } from 'vitest';
import { ByteBudget } from '../../../src/agent/byte-budget.js';
import { Deadline } from '../../../src/driver/deadline.js';
import { ComputeError } from '../../../src/driver/errors.js';

it('bytes are held up to the most, the next in order of arrival, the largest alone', async () => {
  using deadline = new Deadline({ operation: 'test' });
  const budget = new ByteBudget(10);
  const entered: string[] = [];
  const enter = async (name: string, bytes: number): Promise<() => void> => {
    const leave = await budget.enter(bytes, deadline);
    entered.push(name);
    return leave;
  };
  const [a, b] = [await enter('a', 6), await enter('b', 4)];
  // The small one would fit before: then the large one would never have its turn.
  const large = enter('large', 20);
  const small = enter('small', 1);
  b();
  b();
  await Promise.resolve();
  expect(entered).toEqual(['a', 'b']);
  a();
  (await large)();
  (await small)();
  expect(entered).toEqual(['a', 'b', 'large', 'small']);
});

it('what is taken without a wait counts, and who gives up leaves the line to the next', async () => {
  using deadline = new Deadline({ operation: 'test' });
  const budget = new ByteBudget(10);
  const held = budget.take(30);
  using gone = new Deadline({ operation: 'test' });
  const first = budget.enter(11, gone);
  const second = budget.enter(5, deadline);
  gone.cancel(new ComputeError('CLOSED', 'closed'));
  await expect(first).rejects.toMatchObject({ code: 'CLOSED' });
  held();
  await expect(second).resolves.toBeTypeOf('function');
  await expect(budget.enter(1, gone)).rejects.toMatchObject({ code: 'CLOSED' });
});
