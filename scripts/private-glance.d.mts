export interface NewImage {
  readonly name?: string;
  readonly disk_format?: string;
  readonly container_format?: string;
  readonly [attribute: string]: unknown;
}

/** Debian's glance-api, on 127.0.0.1 by default, without Keystone, sqlite and image files in one directory. */
export class PrivateGlance {
  static obstacle(): string | undefined;
  static start(
    directory: string,
    options?: { readonly address?: string; readonly under?: readonly string[]; readonly port?: number },
  ): Promise<PrivateGlance>;
  readonly url: string;
  add(image: NewImage, data?: Uint8Array | string): Promise<string>;
  deactivate(id: string): Promise<void>;
  file(id: string): string;
  stop(): Promise<void>;
  kill(): void;
}
