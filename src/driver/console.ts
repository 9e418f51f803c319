// What a driver tells and gives of an instance's consoles.

/** Where a client of that protocol connects to. Nova: nova/console/type.py. */
export interface ConsoleEndpoint {
  readonly type: 'vnc' | 'spice' | 'serial';
  /** As the hypervisor listens: a client on another host needs a way to it. */
  readonly host: string;
  readonly port: number;
  /** SPICE: the port with TLS, where there is one. */
  readonly tlsPort?: number;
}

export interface Screenshot {
  /** `image/png` or `image/x-portable-pixmap`, as the hypervisor makes it. */
  readonly mimeType: string;
  readonly data: Uint8Array;
}
