export interface ServiceOptions {
  readonly name: string;
  readonly args: readonly string[];
  /** Words before the command. */
  readonly under?: readonly string[];
  readonly directory: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Answers with success once it is ready. */
  readonly url: string;
}

/** A process that answers on 127.0.0.1, ended with its whole group. */
export class PrivateService {
  static start(options: ServiceOptions): Promise<PrivateService>;
  stop(): Promise<void>;
  kill(): void;
}

export function freePort(): Promise<number>;
