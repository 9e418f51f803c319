// What the addon rejects with, as a ComputeError.
import { ComputeError, type ErrorCode, LibvirtError, type LibvirtErrorFields } from './driver/errors.js';

export interface NativeErrorContext {
  readonly operation: string;
  readonly instanceUuid?: string | undefined;
}

interface NativeError extends Error, Partial<LibvirtErrorFields> {
  readonly code?: string;
  readonly errno?: number;
  readonly path?: string;
  readonly rule?: string;
}

/** virErrorNumber to our codes; what is not here is HYPERVISOR. */
const LIBVIRT_CODES: Readonly<Record<number, { readonly code: ErrorCode; readonly retryable?: boolean }>> = {
  3: { code: 'UNSUPPORTED' }, // VIR_ERR_NO_SUPPORT
  5: { code: 'CONNECTION_FAILED', retryable: true }, // VIR_ERR_NO_CONNECT
  28: { code: 'INSTANCE_EXISTS' }, // VIR_ERR_DOM_EXIST
  42: { code: 'INSTANCE_NOT_FOUND' }, // VIR_ERR_NO_DOMAIN
  55: { code: 'INVALID_STATE' }, // VIR_ERR_OPERATION_INVALID
  68: { code: 'TIMEOUT', retryable: true }, // VIR_ERR_OPERATION_TIMEOUT
  78: { code: 'ABORTED' }, // VIR_ERR_OPERATION_ABORTED
  84: { code: 'UNSUPPORTED' }, // VIR_ERR_OPERATION_UNSUPPORTED
};

/** VIR_FROM_RPC: the socket to libvirtd; VIR_FROM_REMOTE: the remote driver. */
const RPC_DOMAINS: ReadonlySet<number> = new Set([7, 13]);

/** Turns what the addon rejected with into a ComputeError; one that is already is returned as it is. */
export function fromNative(error: unknown, options: NativeErrorContext): ComputeError {
  if (ComputeError.is(error)) return error;
  const e = error as NativeError;
  const subject = options.instanceUuid ? ` of instance ${options.instanceUuid}` : '';
  const message = `${options.operation}${subject} failed: ${e.message}`;
  const context = { operation: options.operation, instanceUuid: options.instanceUuid, cause: error };
  switch (e.code) {
    case 'LIBVIRT': {
      const fields: LibvirtErrorFields = {
        libvirtCode: e.libvirtCode ?? 0,
        libvirtDomain: e.libvirtDomain ?? 0,
        level: e.level ?? 0,
        str1: e.str1 ?? null,
        str2: e.str2 ?? null,
        str3: e.str3 ?? null,
        int1: e.int1 ?? 0,
        int2: e.int2 ?? 0,
      };
      const lost = RPC_DOMAINS.has(fields.libvirtDomain) && fields.libvirtCode !== 42;
      const known = LIBVIRT_CODES[fields.libvirtCode];
      if (lost) return new LibvirtError('CONNECTION_LOST', message, fields, { ...context, retryable: true });
      return new LibvirtError(known?.code ?? 'HYPERVISOR', message, fields, {
        ...context,
        retryable: known?.retryable,
      });
    }
    case 'SYSTEM':
      return new ComputeError(e.errno === 28 || e.errno === 122 ? 'NO_SPACE' : 'SYSTEM', message, {
        ...context,
        details: { errno: e.errno, ...(e.path !== undefined && { path: e.path }) },
      });
    case 'IMAGE_INVALID':
      return new ComputeError('IMAGE_UNACCEPTABLE', message, { ...context, details: { rule: e.rule } });
    case 'CANCELLED':
      return new ComputeError('ABORTED', `${options.operation}${subject} was aborted`, context);
    case 'CLOSED':
      return new ComputeError('CLOSED', message, context);
    case 'QUEUE_FULL':
      return new ComputeError('QUEUE_FULL', message, { ...context, retryable: true });
    case 'INVALID_ARGUMENT':
      return new ComputeError('INVALID_ARGUMENT', message, context);
    default:
      return new ComputeError('INTERNAL', message, context);
  }
}
