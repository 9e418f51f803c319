// Launches, reboots, rescues, rebuilds and terminates without end until it is killed. Its fake machine is written to a file at each change.
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [library, path, stateFile] = process.argv.slice(2);
const { ComputeNode, FakeHypervisor } = await import(pathToFileURL(library));

const save = () => {
  writeFileSync(`${stateFile}.new`, JSON.stringify(hypervisor.save()));
  renameSync(`${stateFile}.new`, stateFile);
};
const state = existsSync(stateFile) ? JSON.parse(readFileSync(stateFile, 'utf8')) : undefined;
const hypervisor = new FakeHypervisor({ vcpus: 64, memoryMb: 65_536, localGb: 100 }, state, save);
save();

const node = await ComputeNode.open({
  driver: 'fake.FakeDriver',
  instancesPath: path,
  driverOptions: { hypervisor, files: true },
});
/** Resolves when the parent will get it, whatever becomes of this process. */
const tell = (message) => new Promise((resolve) => process.send(message, resolve));

await tell('open');

async function work() {
  for (;;) {
    const { instance } = await node.launch({
      name: 'guest',
      flavor: { vcpus: 1, memoryMb: 64 },
      image: { id: 'image', diskFormat: 'raw', source: { type: 'file', path: '/image' } },
      networks: [{}],
      configDrive: {},
    });
    await tell(`launched ${instance.uuid}`);
    await node.reboot(instance.uuid, 'hard');
    const quick = { shutdownTimeoutMs: 0 };
    await node.rescue(instance.uuid, quick);
    await node.unrescue(instance.uuid);
    const image = { id: 'other', diskFormat: 'raw', source: { type: 'file', path: '/other' } };
    await node.rebuild(instance.uuid, { image, configDrive: {} }, quick);
    if (Math.random() < 0.1) continue;
    await tell(`terminating ${instance.uuid}`);
    await node.terminate(instance.uuid);
  }
}

await Promise.all([work(), work(), work(), work()]);
