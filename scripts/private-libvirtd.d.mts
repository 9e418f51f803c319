/** A libvirtd with its own sockets, directories and process namespace. */
export class PrivateLibvirtd {
  static start(directory: string, options?: { readonly tuned?: boolean }): Promise<PrivateLibvirtd>;
  readonly directory: string;
  readonly socket: string;
  readonly uri: string;
  readonly log: string;
  readonly pid: number | undefined;
  virsh(...args: string[]): string;
  kill(): void;
  goAway(signal: NodeJS.Signals): Promise<void>;
  comeBack(): void;
  stop(): void;
}
