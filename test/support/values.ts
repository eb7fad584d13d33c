/** What registers mean, worked out here anew by DataView, so that the product is not checked by itself. */

export const NUMBER_TYPES = {
  int16: 1,
  uint16: 1,
  int32: 2,
  uint32: 2,
  float32: 2,
  int64: 4,
  uint64: 4,
  float64: 4,
} as const;
export type NumberType = keyof typeof NUMBER_TYPES;

export const ORDERS = ['ABCD', 'CDAB', 'BADC', 'DCBA'] as const;
export type Order = (typeof ORDERS)[number];

/** The registers' value as its decimal text; floats as JavaScript writes them. */
export function textOf(registers: readonly number[], type: NumberType, order: Order): string {
  const words = order === 'CDAB' || order === 'DCBA' ? registers.toReversed() : registers;
  const view = new DataView(new ArrayBuffer(registers.length * 2));
  words.forEach((word, index) => view.setUint16(index * 2, word, order === 'BADC' || order === 'DCBA'));
  switch (type) {
    case 'int16':
      return String(view.getInt16(0));
    case 'uint16':
      return String(view.getUint16(0));
    case 'int32':
      return String(view.getInt32(0));
    case 'uint32':
      return String(view.getUint32(0));
    case 'float32':
      return String(view.getFloat32(0));
    case 'int64':
      return String(view.getBigInt64(0));
    case 'uint64':
      return String(view.getBigUint64(0));
    case 'float64':
      return String(view.getFloat64(0));
  }
}

/** A payload's `v` as it was written; floats of 32 bits are rounded to what those bits can say. */
export function publishedText(payload: string, type: NumberType): string | null {
  const text = /"v":(-?[\d.eE+-]+)/.exec(payload)?.[1];
  if (text === undefined) return null;
  if (type === 'float32') return String(Math.fround(Number(text)));
  return type === 'float64' ? String(Number(text)) : text;
}

/** Random registers that say the same on each run with the same seed. */
export function randomWords(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state >>> 16;
  };
}
