// What Cinder is told of the host that a volume is for: os-brick's properties of one without iSCSI, Fibre Channel and NVMe.
import { machine, platform } from 'node:os';

export interface Connector {
  /** The host's name in Nova. */
  readonly host: string;
  readonly ip: string;
  /** `x86_64`. */
  readonly platform: string;
  /** `linux`. */
  readonly os_type: string;
  readonly multipath: boolean;
  readonly do_local_attach: boolean;
  /** As Nova says where a guest has the volume: `/dev/vdb`. */
  readonly mountpoint?: string;
}

export function connectorOf(host: string, ip: string): Connector {
  return { host, ip, platform: machine(), os_type: platform(), multipath: false, do_local_attach: false };
}
