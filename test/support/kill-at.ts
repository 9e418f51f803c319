// A kill in the middle of a call: at once, after so long, or when something has been heard of an instance.
import type { ComputeNode, NodeEvent } from '../../src/index.js';

/** Milliseconds after the call began, or a lifecycle event, of which a libvirtd that has just been started does not always tell. */
export type Moment = 'begun' | number | { readonly event: string };

/** The kill comes after the call at the latest, but for one that should have come later. Settles as the call does. */
export async function killAt<T>(
  node: ComputeNode,
  moment: Moment,
  kill: () => void,
  call: () => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const killed = killing(node, moment, kill, controller.signal);
  try {
    return await call();
  } finally {
    controller.abort();
    await killed;
  }
}

async function killing(
  node: ComputeNode,
  moment: Moment,
  kill: () => void,
  signal: AbortSignal,
): Promise<void> {
  if (typeof moment === 'number') {
    const timer = setTimeout(kill, moment);
    signal.addEventListener('abort', () => clearTimeout(timer));
    return;
  }
  if (moment !== 'begun') {
    const isMoment = (event: NodeEvent): boolean =>
      event.type === 'lifecycle' && event.event === moment.event;
    for await (const event of node.events({ signal })) if (isMoment(event)) break;
  }
  kill();
}
