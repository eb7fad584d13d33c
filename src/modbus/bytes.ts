/** Bytes and words by position. Beyond the end everything is 0: who reads compares lengths first. */

export function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

export function wordAt(bytes: Uint8Array, at: number): number {
  return (byteAt(bytes, at) << 8) | byteAt(bytes, at + 1);
}

export function setWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = (word >>> 8) & 0xff;
  bytes[at + 1] = word & 0xff;
}
