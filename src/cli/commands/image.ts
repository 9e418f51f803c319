// node-compute image: what the image engine does to files, and the image cache; without a node and without libvirt running.
import { Command } from 'commander';
import { cacheCommand } from './image/cache.js';
import { convertCommand } from './image/convert.js';
import { createCommand } from './image/create.js';
import { digestCommand } from './image/digest.js';
import { infoCommand } from './image/info.js';
import { inspectCommand } from './image/inspect.js';
import { mapCommand } from './image/map.js';
import { resizeCommand } from './image/resize.js';

export function imageCommand(): Command {
  const command = new Command('image').description('inspects, makes, grows and converts disk images');
  for (const sub of [
    inspectCommand(),
    infoCommand(),
    createCommand(),
    resizeCommand(),
    convertCommand(),
    mapCommand(),
    digestCommand(),
    cacheCommand(),
  ]) {
    command.addCommand(sub);
  }
  return command;
}
