// What the libvirt driver can do.
import type { DriverCapabilities } from '../driver/compute-driver.js';

/** Of a daemon; an embedded connection has no filters. */
export const CAPABILITIES: DriverCapabilities = {
  pause: true,
  softReboot: true,
  consoleOutput: true,
  suspend: true,
  rescue: true,
  rebuild: true,
  snapshot: true,
  resize: true,
  liveResize: true,
  liveMigration: false,
  attachVolume: true,
  extendVolume: true,
  swapVolume: true,
  attachInterface: true,
  diagnostics: true,
  guestAgent: true,
  crashDump: true,
  resumeOnHostBoot: true,
  remoteConsole: true,
  consoleStream: true,
  imageCache: true,
  diskThreshold: true,
  plugVifs: true,
  vifFilter: true,
  usage: true,
};
