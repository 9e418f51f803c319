// node-compute image cache: the cached images of a node, which may be running.
import { Command } from 'commander';
import { lsCommand } from './cache/ls.js';
import { pinCommand, unpinCommand } from './cache/pin.js';
import { prefetchCommand } from './cache/prefetch.js';
import { pruneCommand } from './cache/prune.js';
import { rmCommand } from './cache/rm.js';
import { scrubCommand } from './cache/scrub.js';

export function cacheCommand(): Command {
  const command = new Command('cache').description('the images that a node has fetched');
  for (const sub of [
    lsCommand(),
    prefetchCommand(),
    pruneCommand(),
    scrubCommand(),
    rmCommand(),
    pinCommand(),
    unpinCommand(),
  ]) {
    command.addCommand(sub);
  }
  return command;
}
