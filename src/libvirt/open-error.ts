// Why a connection could not be opened, in words that say what to do.
import { ComputeError, LibvirtError } from '../driver/errors.js';
import { rootHolder } from './embedded-root.js';

/** A `root` (of an embedded connection) that another process holds is told as such, with who it is. */
export function explainOpen(error: unknown, root: string | undefined): unknown {
  const holder = root !== undefined && error instanceof LibvirtError ? rootHolder(root) : undefined;
  if (!holder || holder.pid === process.pid) return unreachable(error);
  return new ComputeError(
    'HOST_LOCKED',
    `the embedded libvirt root ${root} is held by process ${holder.pid} (${holder.command}): end it, or choose another root`,
    { operation: 'initHost', cause: error, details: { root, ...holder } },
  );
}

/** Before there was a connection none can have been lost. */
function unreachable(error: unknown): unknown {
  if (!(error instanceof LibvirtError) || error.code !== 'CONNECTION_LOST') return error;
  return new LibvirtError('CONNECTION_FAILED', error.message, error.libvirt, {
    operation: 'initHost',
    retryable: true,
    cause: error,
  });
}
