// ComputeNode on the embedded driver: launch() of a cached image, from the claim to the running event.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { ComputeNode } from '../../dist/index.js';
import { usage } from '../lib/trial.mjs';

const { directory, image, launches, warmup, security, bridge, keepCommand } = JSON.parse(process.argv[2]);
const root = join(directory, 'r');
const node = await ComputeNode.open({
  instancesPath: join(directory, 'i'),
  driverOptions: { root, security },
});
const request = {
  name: 'bench',
  flavor: { vcpus: 1, memoryMb: 128, rootGb: 1 },
  image: { id: 'bench', diskFormat: 'qcow2', source: { type: 'file', path: image } },
  networks: [{ bridge }],
};

const ms = [];
const steps = { claim: [], image: [], definition: [], start: [] };
let command;
const delay = monitorEventLoopDelay({ resolution: 1 });
for (let i = 0; i < warmup + launches; i += 1) {
  if (i === warmup) delay.enable();
  const begin = performance.now();
  const result = await node.launch(request);
  const took = performance.now() - begin;
  if (i >= warmup) {
    ms.push(took);
    for (const { step, milliseconds } of result.steps) steps[step].push(milliseconds);
  }
  if (keepCommand) command = readFileSync(join(root, 'log/qemu', `${result.instance.name}.log`), 'utf8');
  await node.terminate(result.instance.uuid);
}
delay.disable();
await node.close();
console.log(
  JSON.stringify({
    ms,
    steps,
    command,
    eventLoopDelayMs: { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 },
    ...usage(),
  }),
);
