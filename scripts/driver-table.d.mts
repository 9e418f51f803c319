export interface DriverTableFacts {
  readonly methods: Readonly<Record<string, readonly string[]>>;
  readonly flags: Readonly<Record<string, string | undefined>>;
  readonly drivers: readonly { readonly name: string; readonly capabilities: object }[];
}

/** The page with its table made anew. Throws where it lacks the marks of the table. */
export function withTable(page: string, facts: DriverTableFacts): string;
