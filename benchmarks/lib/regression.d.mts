export function judge(medians: {
  readonly base: readonly number[];
  readonly again: readonly number[];
  readonly build: readonly number[];
}): {
  readonly ratio: number;
  readonly band: number;
  readonly verdict: 'regression' | 'improvement' | 'same';
};
