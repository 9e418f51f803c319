// Documents as the bytes of a file.

export function json(value: unknown): Uint8Array {
  return text(JSON.stringify(value));
}

export function text(value: string): Uint8Array {
  return Buffer.from(value, 'utf8');
}
