// What libvirt says after events were missed, told as the events that were missed.
import { expect, it } from 'vitest';
import { DomainStates } from '../../../src/libvirt/domain-states.js';

const RUNNING = 1;
const PAUSED = 3;
const SHUTDOWN = 4;
const SHUTOFF = 5;

const record = (uuid: string, state: number, reason = 0, id = state === SHUTOFF ? -1 : 1) => ({
  ...{ uuid, name: uuid, id, state, reason, ours: true, saved: false },
});

/** States that were told of, and what a list then says. */
function compared(before: ReturnType<typeof record>[], after: ReturnType<typeof record>[]): string[] {
  const states = new DomainStates();
  states.compare(before);
  states.beginComparison();
  const { events, changes } = states.compare(after);
  states.beginComparison();
  expect(states.compare(after)).toEqual({ events: [], changes: [] });
  expect(events.length === 0).toBe(changes.length === 0);
  return events.map(({ uuid, event, detail }) => `${uuid} ${event} ${detail}`);
}

it('says nothing where nothing changed', () => {
  const all = [record('a', RUNNING), record('b', PAUSED), record('c', SHUTOFF)];
  expect(compared(all, all)).toEqual([]);
});

it('tells how each stopped, by the reason that libvirt keeps', () => {
  const stopped = (reason: number) => compared([record('a', RUNNING)], [record('a', SHUTOFF, reason)]);
  expect(stopped(1)).toEqual(['a stopped shutdown']);
  expect(stopped(2)).toEqual(['a stopped destroyed']);
  expect(stopped(3)).toEqual(['a stopped crashed']);
  expect(stopped(8)).toEqual(['a stopped crashed']);
  expect(stopped(99)).toEqual(['a stopped unknown']);
  expect(compared([record('a', RUNNING)], [record('a', SHUTDOWN)])).toEqual(['a shutdown guest']);
});

it('tells of pauses, starts, restarts, and of what came and went', () => {
  expect(compared([record('a', RUNNING)], [record('a', PAUSED, 5)])).toEqual(['a suspended io-error']);
  expect(compared([record('a', PAUSED)], [record('a', RUNNING)])).toEqual(['a resumed unpaused']);
  expect(compared([record('a', SHUTOFF)], [record('a', RUNNING)])).toEqual(['a started booted']);
  expect(compared([record('a', RUNNING)], [record('a', RUNNING, 0, 2)])).toEqual([
    'a stopped unknown',
    'a started booted',
  ]);
  expect(compared([], [record('a', PAUSED)])).toEqual([
    'a defined added',
    'a started booted',
    'a suspended paused',
  ]);
  expect(compared([record('a', RUNNING)], [])).toEqual(['a stopped unknown', 'a undefined removed']);
});

it('believes an event that comes while the list is made', () => {
  const states = new DomainStates();
  states.compare([record('a', RUNNING)]);
  states.beginComparison();
  states.note({ uuid: 'a', name: 'a', event: 'stopped', detail: 'shutdown', id: -1 });
  expect(states.compare([record('a', RUNNING)])).toEqual({ events: [], changes: [] });
  states.beginComparison();
  expect(states.compare([record('a', SHUTOFF)]).changes).toEqual([]);
});
