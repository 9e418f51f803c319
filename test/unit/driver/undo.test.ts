// Undo runs last first, goes on after a failure, and does nothing for what succeeded.
import { describe, expect, it } from 'vitest';
import { Undo } from '../../../src/driver/undo.js';

describe('Undo', () => {
  it('runs the last step first and reports those that failed', async () => {
    const undo = new Undo();
    const ran: string[] = [];
    const planted = new Error('planted');
    undo.add('a', () => void ran.push('a'));
    undo.add('b', () => {
      throw planted;
    });
    undo.add('c', async () => void ran.push('c'));
    expect(await undo.run()).toEqual([{ name: 'b', error: planted }]);
    expect(ran).toEqual(['c', 'a']);
    expect(await undo.run()).toEqual([]);
    expect(ran).toEqual(['c', 'a']);
  });

  it('keeps what was committed', async () => {
    const undo = new Undo();
    undo.add('a', () => {
      throw new Error('must not run');
    });
    undo.commit();
    expect(await undo.run()).toEqual([]);
  });
});
