/** Debian's neutron-server on 127.0.0.1 without Keystone, sqlite in one directory, agents by name alone. */
export class PrivateNeutron {
  static obstacle(): string | undefined;
  static start(
    directory: string,
    agents: Readonly<Record<string, 'bridge' | 'ovs'>>,
  ): Promise<PrivateNeutron>;
  readonly url: string;
  /** Below `/v2.0`. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  plug(portId: string): Promise<void>;
  stop(): Promise<void>;
}
