// The addon's figures of all domains and of many files in one call.
import type { CallId } from './native-image.js';

/** src/libvirt/usage.ts reads the figures. */
export interface NativeUsageSample {
  readonly uuids: readonly string[];
  readonly names: readonly string[];
  readonly figures: ArrayBuffer;
}

export interface NativeConnectionFigures {
  /** All domains that carry the metadata element; `groups` are bits of native/libvirt/usage.h. */
  usage(groups: number, metadataUri: string, callId: CallId): Promise<NativeUsageSample>;
  /** A `<cpu>` element with all features of its model told: virConnectBaselineCPU. */
  expandCpu(cpuXml: string, callId: CallId): Promise<string>;
}

export interface NativeFileFigures {
  /** Four numbers for each path: allocated bytes, size, time of the last change in milliseconds, inode; NaN where there is nothing. */
  statFiles(paths: readonly string[], callId: CallId): Promise<Float64Array>;
}
