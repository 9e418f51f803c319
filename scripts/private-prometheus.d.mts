/** Debian's prometheus on 127.0.0.1, its data in one directory, scraping one address each second. */
export class PrivatePrometheus {
  static obstacle(): string | undefined;
  static start(directory: string, target: string): Promise<PrivatePrometheus>;
  readonly url: string;
  query(
    expression: string,
  ): Promise<{ readonly labels: Readonly<Record<string, string>>; readonly value: number }[]>;
  stop(): Promise<void>;
}
