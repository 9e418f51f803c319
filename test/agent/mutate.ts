// Messages damaged at random, the same each time for the same seed.

export function mutate(body: Buffer, seed: number): Buffer {
  const copy = Buffer.from(body);
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return state % below;
  };
  switch (next(4)) {
    case 0:
      return copy.subarray(0, next(copy.length));
    case 1:
      for (let count = next(8) + 1; count > 0; count--) copy[next(copy.length)] = next(256);
      return copy;
    case 2: {
      const at = next(copy.length);
      return Buffer.concat([copy.subarray(0, at), copy.subarray(next(copy.length))]);
    }
    default: {
      const brackets = ['"', '[', '{', '}', ']', ',', ':', '\\', '\u0000', '9'];
      copy.write(brackets[next(brackets.length)] ?? '', next(copy.length));
      return copy;
    }
  }
}
