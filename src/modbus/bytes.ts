/** Bytes, words and bits by position. Beyond the end everything is 0: who reads compares lengths first. */

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

/** As coils lie in an answer: the first one lowest in its byte. */
export function bitAt(bytes: Uint8Array, at: number): boolean {
  return ((byteAt(bytes, at >> 3) >> (at & 7)) & 1) === 1;
}

/** So many registers or bits of an answer's data, from that one on. */
export function partOf(data: Uint8Array, isBits: boolean, from: number, quantity: number): Uint8Array {
  if (!isBits) return data.slice(2 * from, 2 * (from + quantity));
  const bits = new Uint8Array(Math.ceil(quantity / 8));
  for (let at = 0; at < quantity; at += 1)
    if (bitAt(data, from + at)) bits[at >> 3] = byteAt(bits, at >> 3) | (1 << (at & 7));
  return bits;
}
