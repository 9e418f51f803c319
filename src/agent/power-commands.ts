// Commands that change the state of a guest: each with the task states that Nova's API and manager give it.
import type { ComputeHost } from './compute-host.js';
import { type CommandArguments, instanceCommand } from './instance-command.js';
import { type Fields, type InstanceRecord, powerCode } from './instance-record.js';
import { rescueSystem } from './rescue-system.js';
import type { RpcMethod } from './rpc-endpoint.js';
import { saveRunning } from './shelved.js';

interface StateChange {
  /** That the API has set. */
  readonly taskState: string;
  readonly vmState: string;
  readonly isDeletion?: true;
  readonly more?: () => Fields;
  act(record: InstanceRecord, args: CommandArguments): Promise<void>;
}

/** By the names of Nova's RPC. */
export function powerCommands(host: ComputeHost): Record<string, RpcMethod> {
  const { node, signal, shutdownTimeoutMs } = host;
  const patience = ({ clean_shutdown: clean = true }: CommandArguments): { shutdownTimeoutMs: number } => ({
    shutdownTimeoutMs: clean === true ? shutdownTimeoutMs : 0,
  });
  const call = { signal };
  const changes: Readonly<Record<string, StateChange>> = {
    stop_instance: {
      taskState: 'powering-off',
      vmState: 'stopped',
      act: ({ uuid }, args) => node.shutdown(uuid, { ...call, ...patience(args) }),
    },
    soft_delete_instance: {
      taskState: 'soft-deleting',
      vmState: 'soft-delete',
      isDeletion: true,
      act: async (record) => {
        // That rests already, with its memory.
        if ((await record.powerState()) === 'suspended') return;
        await node.shutdown(record.uuid, { ...call, shutdownTimeoutMs: 0 });
      },
    },
    restore_instance: {
      taskState: 'restoring',
      vmState: 'active',
      act: ({ uuid }) => node.start(uuid, call),
    },
    pause_instance: { taskState: 'pausing', vmState: 'paused', act: ({ uuid }) => node.pause(uuid, call) },
    unpause_instance: {
      taskState: 'unpausing',
      vmState: 'active',
      act: ({ uuid }) => node.unpause(uuid, call),
    },
    suspend_instance: {
      taskState: 'suspending',
      vmState: 'suspended',
      act: ({ uuid }) => node.suspend(uuid, call),
    },
    resume_instance: { taskState: 'resuming', vmState: 'active', act: ({ uuid }) => node.resume(uuid, call) },
    rescue_instance: {
      taskState: 'rescuing',
      vmState: 'rescued',
      more: () => ({ launched_at: new Date() }),
      act: async (record, args) => {
        await node.rescue(record.uuid, {
          ...call,
          ...patience(args),
          ...(await rescueSystem(host, record, args)),
        });
      },
    },
    unrescue_instance: {
      taskState: 'unrescuing',
      vmState: 'active',
      act: ({ uuid }) => node.unrescue(uuid, call),
    },
  };
  const methods = Object.entries(changes).map(([method, change]): [string, RpcMethod] => [
    method,
    instanceCommand(host, {
      event: `compute_${method}`,
      pending: [change.taskState],
      ...(change.isDeletion && { isDeletion: true }),
      run: async (record, args) => {
        await change.act(record, args);
        const power = powerCode(await record.powerState());
        const fields = { vm_state: change.vmState, task_state: null, power_state: power, ...change.more?.() };
        await record.save(fields, [change.taskState]);
      },
    }),
  ]);
  return { ...Object.fromEntries(methods), start_instance: start(host), reboot_instance: reboot(host) };
}

/** Also of one that is shelved and has not left the host: it is so no more. */
function start(host: ComputeHost): RpcMethod {
  return instanceCommand(host, {
    event: 'compute_start_instance',
    pending: ['powering-on'],
    run: async (record) => {
      await host.node.start(record.uuid, { signal: host.signal });
      const power = powerCode(await record.powerState());
      const fields = { vm_state: 'active', task_state: null, power_state: power };
      await saveRunning(host, record, fields, 'powering-on');
    },
  });
}

function reboot(host: ComputeHost): RpcMethod {
  const { node, signal, shutdownTimeoutMs } = host;
  const states = (suffix: string): [string, string, string] => [
    `rebooting${suffix}`,
    `reboot_pending${suffix}`,
    `reboot_started${suffix}`,
  ];
  return instanceCommand(host, {
    event: 'compute_reboot_instance',
    pending: [...states(''), ...states('_hard')],
    run: async (record, { reboot_type: type }) => {
      const isHard = type === 'HARD';
      const [asked, pending, started] = states(isHard ? '_hard' : '');
      const power = powerCode(await record.powerState());
      await record.save({ task_state: pending, power_state: power }, [asked, pending, started]);
      await record.save({ task_state: started }, [pending]);
      await node.reboot(record.uuid, isHard ? 'hard' : 'soft', { signal, shutdownTimeoutMs });
      const after = powerCode(await record.powerState());
      await record.save({ vm_state: 'active', task_state: null, power_state: after });
    },
  });
}
