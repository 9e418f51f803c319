// Which method of Nova's nova/virt/driver.py each method of the contract answers for.
import type { ComputeDriver } from './compute-driver.js';

/** The asynchronous methods of the contract, and `events`. */
export type DriverMethod = Exclude<
  {
    [K in keyof ComputeDriver]: ComputeDriver[K] extends (...args: never[]) => unknown ? K : never;
  }[keyof ComputeDriver],
  symbol
>;

/** Empty where Nova's driver has no such method. */
export const NOVA_METHODS: Readonly<Record<DriverMethod, readonly string[]>> = {
  initHost: ['init_host'],
  close: ['cleanup_host'],
  spawn: ['spawn', 'prepare_for_spawn', 'failed_spawn_cleanup'],
  destroy: ['destroy', 'cleanup', 'delete_instance_files'],
  powerOff: ['power_off'],
  powerOn: ['power_on'],
  reboot: ['reboot'],
  pause: ['pause'],
  unpause: ['unpause'],
  getInfo: ['get_info'],
  instanceExists: ['instance_exists'],
  listInstances: ['list_instances', 'list_instance_uuids', 'get_num_instances'],
  getAvailableResource: ['get_available_resource', 'get_available_nodes'],
  getConsoleOutput: ['get_console_output'],
  events: ['register_event_listener', 'emit_event'],
  suspend: ['suspend'],
  resume: ['resume'],
  resumeStateOnHostBoot: ['resume_state_on_host_boot'],
  triggerCrashDump: ['trigger_crash_dump'],
  rescue: ['rescue'],
  unrescue: ['unrescue'],
  rebuild: ['rebuild'],
  settleRebuild: [],
  snapshot: ['snapshot'],
  migrateDiskAndPowerOff: ['migrate_disk_and_power_off'],
  finishMigration: ['finish_migration'],
  confirmMigration: ['confirm_migration'],
  finishRevertMigration: ['finish_revert_migration'],
  liveMigration: ['live_migration'],
  attachVolume: ['attach_volume', 'get_device_name_for_instance'],
  detachVolume: ['detach_volume'],
  extendVolume: ['extend_volume'],
  swapVolume: ['swap_volume'],
  attachInterface: ['attach_interface'],
  detachInterface: ['detach_interface'],
  getDiagnostics: ['get_diagnostics', 'get_instance_diagnostics'],
  getVncConsole: ['get_vnc_console'],
  getSpiceConsole: ['get_spice_console'],
  getSerialConsole: ['get_serial_console'],
  getScreenshot: [],
  openConsole: [],
  pingAgent: [],
  setAdminPassword: ['set_admin_password'],
  setGuestTime: [],
  quiesce: ['quiesce'],
  unquiesce: ['unquiesce'],
  cacheImage: ['cache_image'],
  manageImageCache: ['manage_image_cache'],
  getImageCacheMetrics: [],
  getInstancesUsage: [],
  getInventory: [],
};
