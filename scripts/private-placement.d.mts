/** Debian's placement-api on 127.0.0.1 without Keystone, sqlite in one directory. */
export class PrivatePlacement {
  static obstacle(): string | undefined;
  static start(directory: string, port?: number): Promise<PrivatePlacement>;
  readonly url: string;
  readonly token: string;
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  stop(): Promise<void>;
}
