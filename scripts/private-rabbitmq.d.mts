export interface RabbitmqOptions {
  /** Paths of PEM files; with them it listens for TLS too. */
  readonly tls?: { readonly ca: string; readonly cert: string; readonly key: string };
  /** Default 60. */
  readonly heartbeatSeconds?: number;
}

/** Debian's rabbitmq-server on 127.0.0.1 with its own node, port mapper, cookie and data, all in one directory. */
export class PrivateRabbitmq {
  static obstacle(): string | undefined;
  static start(directory: string, options?: RabbitmqOptions): Promise<PrivateRabbitmq>;
  readonly port: number;
  readonly tlsPort: number;
  /** Of the user guest, as a transport URL. */
  readonly url: string;
  start(): Promise<void>;
  halt(): Promise<void>;
  kill(): Promise<void>;
  freeze(): void;
  thaw(): void;
  stop(): Promise<void>;
}
