/** Debian's Cinder on 127.0.0.1 without Keystone and Nova, sqlite and volumes in one directory. */
export class PrivateCinder {
  static obstacle(): string | undefined;
  static start(directory: string): Promise<PrivateCinder>;
  /** Root of the API. */
  readonly url: string;
  /** Below which its volumes are. */
  readonly mountBase: string;
  /** Below the root. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  stop(): Promise<void>;
}
