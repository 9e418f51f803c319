// What a config drive tells a guest, and in which layout: plain data that travels beside an instance, never in it.

/** `openstack`: label `config-2`, as Nova writes it. `nocloud`: label `cidata`, cloud-init's own. */
export type ConfigDriveFormat = 'openstack' | 'nocloud';

/**
 * Given to {@link ComputeDriver.spawn} as Nova gives it `injected_files` and `admin_password`. It holds secrets: apart from
 * {@link Instance}, so that it comes into no journal, no event and no log; what is stored of it is the drive alone.
 */
export interface ConfigDriveContent {
  /** Default: made of the instance's display name, as Nova does. */
  readonly hostname?: string;
  readonly availabilityZone?: string;
  /** The user's own keys and values (Nova's `meta`). */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly userData?: Uint8Array;
  readonly keys?: readonly ConfigDriveKey[];
  /** In the `openstack` layout only. */
  readonly files?: readonly ConfigDriveFile[];
  /** In the `openstack` layout only. */
  readonly adminPassword?: string;
}

export interface ConfigDriveKey {
  readonly name: string;
  /** One line as in `authorized_keys`. */
  readonly publicKey: string;
}

/** Nova's personality: a file that the guest puts in place at its first boot. */
export interface ConfigDriveFile {
  /** Absolute, in the guest. */
  readonly path: string;
  readonly contents: Uint8Array;
}
