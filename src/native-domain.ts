// The addon's calls on a domain that have files of their own below native/libvirt: saved memory, agent, console, figures.
import type { CallId } from './native-image.js';

/** By libvirt's names, `block.0.rd.bytes`; whole numbers are bigint. */
export type NativeStatistics = Readonly<Record<string, bigint | number | boolean | string | undefined>>;

/** One read and one write at a time. Nothing is read ahead. */
export interface NativeConsole {
  /** What is there, as soon as there is some; empty at the end. */
  read(callId: CallId): Promise<Buffer>;
  /** Resolves when all of it was taken. Rejects with CLOSED at the end. */
  write(data: Uint8Array, callId: CallId): Promise<void>;
  /** Idempotent; ends a read and a write that wait. */
  close(callId: CallId): Promise<void>;
}

export interface NativeDomainCalls {
  /** virDomainManagedSave; abortJob() ends it and the guest goes on. */
  managedSave(callId: CallId): Promise<void>;
  /** False where there was none. */
  managedSaveRemove(callId: CallId): Promise<boolean>;
  /** False where there was no job. */
  abortJob(callId: CallId): Promise<boolean>;
  injectNmi(callId: CallId): Promise<void>;
  /** virDomainSetMemoryFlags. Of a running domain it only asks the balloon: what the guest gave back tells info(). */
  setMemory(kib: number, flags: number, callId: CallId): Promise<void>;
  /** virDomainSetVcpusFlags; waits for seconds for a guest that is to let go of one. */
  setVcpus(count: number, flags: number, callId: CallId): Promise<void>;
  /** virDomainListGetStats; `groups` are virDomainStatsTypes. */
  statistics(groups: number, callId: CallId): Promise<NativeStatistics>;
  screenshot(
    screen: number,
    maxBytes: number,
    callId: CallId,
  ): Promise<{ readonly mimeType: string; readonly data: Buffer }>;
  /** `device` is an alias, '' for the first port; `flags` are virDomainConsoleFlags. */
  openConsole(device: string, flags: number, callId: CallId): Promise<NativeConsole>;
  setUserPassword(user: string, password: string, timeoutSeconds: number, callId: CallId): Promise<void>;
  /** Milliseconds since the epoch. */
  guestTime(timeoutSeconds: number, callId: CallId): Promise<number>;
  setGuestTime(milliseconds: number, timeoutSeconds: number, callId: CallId): Promise<void>;
  /** How many file systems were frozen. */
  freeze(timeoutSeconds: number, callId: CallId): Promise<number>;
  thaw(timeoutSeconds: number, callId: CallId): Promise<number>;
}
