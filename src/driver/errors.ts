// One class tree for everything that can go wrong: ComputeError with a stable code, and what it happened to.

/** Stable: a code is never renamed within a major version. docs/errors.md tells each one's meaning and remedy. */
export type ErrorCode =
  | 'INVALID_ARGUMENT'
  | 'UNSUPPORTED'
  | 'ABORTED'
  | 'TIMEOUT'
  | 'CLOSED'
  | 'QUEUE_FULL'
  | 'INSTANCE_NOT_FOUND'
  | 'INSTANCE_EXISTS'
  | 'INSTANCE_BUSY'
  | 'INVALID_STATE'
  | 'DEVICE_IN_USE'
  | 'DEVICE_NOT_FOUND'
  | 'DETACH_FAILED'
  | 'LIVE_RESIZE_FAILED'
  | 'AGENT_UNAVAILABLE'
  | 'AGENT_FAILED'
  | 'CLAIM_REFUSED'
  | 'FLAVOR_IMAGE_CONFLICT'
  | 'FLAVOR_DISK_TOO_SMALL'
  | 'FLAVOR_MEMORY_TOO_SMALL'
  | 'IMAGE_NOT_FOUND'
  | 'IMAGE_UNACCEPTABLE'
  | 'IMAGE_CHECKSUM_MISMATCH'
  | 'IMAGE_DOWNLOAD_FAILED'
  | 'IMAGE_UPLOAD_FAILED'
  | 'IMAGE_IN_USE'
  | 'UNAUTHORIZED'
  | 'NO_SPACE'
  | 'NETWORK_FAILED'
  | 'START_FAILED'
  | 'HOST_LOCKED'
  | 'HOST_UNSUITABLE'
  | 'CONNECTION_FAILED'
  | 'CONNECTION_LOST'
  | 'MESSAGE_UNACCEPTABLE'
  | 'REMOTE_FAILED'
  | 'PLACEMENT_FAILED'
  | 'NEUTRON_FAILED'
  | 'CINDER_FAILED'
  | 'DRIVER_UNKNOWN'
  | 'HYPERVISOR'
  | 'SYSTEM'
  | 'INTERNAL';

export interface ComputeErrorOptions {
  /** Name of the call that failed, e.g. `spawn`. */
  readonly operation?: string | undefined;
  readonly instanceUuid?: string | undefined;
  /** The same call may succeed later without a change of its arguments. Default false. */
  readonly retryable?: boolean | undefined;
  readonly cause?: unknown;
  /** Facts for a program: asked/total/used/limit of a refused claim, the path of a system error ... */
  readonly details?: Readonly<Record<string, unknown>> | undefined;
}

/** Copies of this package in one process recognise each other's errors by this. */
const brand = Symbol.for('node-compute.ComputeError');

/** Every rejection of this library is one of these, or a subclass. */
export class ComputeError extends Error {
  override readonly name: string = 'ComputeError';
  readonly code: ErrorCode;
  readonly operation: string | undefined;
  readonly instanceUuid: string | undefined;
  readonly retryable: boolean;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ComputeErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.operation = options.operation;
    this.instanceUuid = options.instanceUuid;
    this.retryable = options.retryable ?? false;
    this.details = options.details ?? {};
    Object.defineProperty(this, brand, { value: true });
  }

  static is(value: unknown): value is ComputeError {
    return typeof value === 'object' && value !== null && brand in value;
  }

  /** The form that the CLI and the agent print. Holds no stack and no secret. */
  toJSON(): Record<string, unknown> {
    return {
      code: this.code,
      message: this.message,
      ...(this.operation !== undefined && { operation: this.operation }),
      ...(this.instanceUuid !== undefined && { instanceUuid: this.instanceUuid }),
      retryable: this.retryable,
      ...(Object.keys(this.details).length > 0 && { details: this.details }),
    };
  }
}

/** What virGetLastError held on the thread of the failing call. */
export interface LibvirtErrorFields {
  /** virErrorNumber. */
  readonly libvirtCode: number;
  /** virErrorDomain. */
  readonly libvirtDomain: number;
  readonly level: number;
  readonly str1: string | null;
  readonly str2: string | null;
  readonly str3: string | null;
  readonly int1: number;
  readonly int2: number;
}

/** A failure that libvirt reported. Decide by `libvirtCode` and `libvirtDomain`, never by the message. */
export class LibvirtError extends ComputeError {
  override readonly name = 'LibvirtError';
  readonly libvirt: LibvirtErrorFields;

  constructor(
    code: ErrorCode,
    message: string,
    libvirt: LibvirtErrorFields,
    options: ComputeErrorOptions = {},
  ) {
    super(code, message, options);
    this.libvirt = libvirt;
  }

  override toJSON(): Record<string, unknown> {
    return { ...super.toJSON(), libvirt: this.libvirt };
  }
}

/** Capability is off: the method exists in the contract, this driver does not have it. */
export function unsupported(driver: string, operation: string, instanceUuid?: string): ComputeError {
  return new ComputeError('UNSUPPORTED', `${operation} is not supported by the driver ${driver}`, {
    operation,
    instanceUuid,
    details: { driver },
  });
}
