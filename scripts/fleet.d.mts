import type { NativeConnection, NativeDomain } from '../src/native.js';

export function startFleet(
  connection: NativeConnection,
  directory: string,
  count: number,
  namespace: string,
): Promise<NativeDomain[]>;
