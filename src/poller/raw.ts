/**
 * Register bytes -> raw numbers and texts of one tag. Numbers are read without allocating: one small function is
 * chosen for each tag by type and order.
 */
import type { Tag } from '../config/plant.js';

export type Raw = number | bigint;

type RawReader = (bytes: Uint8Array, offset: number) => Raw;

const scratch = new DataView(new ArrayBuffer(8));

/** The reader of a tag's numeric type in its order. */
export function rawReader(tag: Pick<Tag, 'type' | 'order'>): RawReader {
  const size = tag.type.endsWith('64') ? 8 : tag.type.endsWith('32') ? 4 : 2;
  const places = placesOf(tag.order, size);
  const [a, b, c, d] = places;
  switch (tag.type) {
    case 'int16':
      return (bytes, at) => ((byte(bytes, at + a) << 24) >> 16) | byte(bytes, at + b);
    case 'uint16':
    case 'bool':
    case 'string':
      return (bytes, at) => (byte(bytes, at + a) << 8) | byte(bytes, at + b);
    case 'int32':
      return (bytes, at) => word(bytes, at, a, b, c, d) | 0;
    case 'uint32':
      return (bytes, at) => word(bytes, at, a, b, c, d) >>> 0;
    case 'float32':
      return (bytes, at) => {
        scratch.setInt32(0, word(bytes, at, a, b, c, d));
        return scratch.getFloat32(0);
      };
    case 'int64':
    case 'uint64':
    case 'float64':
      return wide(tag.type, places);
  }
}

function wide(type: 'int64' | 'uint64' | 'float64', places: readonly number[]): RawReader {
  return (bytes, at) => {
    for (let i = 0; i < 8; i += 1) scratch.setUint8(i, byte(bytes, at + (places[i] ?? 0)));
    if (type === 'float64') return scratch.getFloat64(0);
    const high = type === 'int64' ? scratch.getInt32(0) : scratch.getUint32(0);
    // Most counters fit into a number; a bigint is made only when they do not.
    if (high >= -0x200000 && high < 0x200000) return high * 0x100000000 + scratch.getUint32(4);
    return type === 'int64' ? scratch.getBigInt64(0) : scratch.getBigUint64(0);
  };
}

/** For each byte of the value, most significant first, where it lies among the answer's bytes. */
export function placesOf(order: string, size: number): [number, number, number, number, ...number[]] {
  const letters = order.length === size || size === 2 ? order : widened(order);
  const places: number[] = [];
  if (size === 2) {
    // A single register has no word order; only orders that swap bytes within words touch it.
    const swapped = letters.startsWith('B') || letters.endsWith('A');
    places.push(...(swapped ? [1, 0] : [0, 1]));
  } else {
    for (let i = 0; i < size; i += 1) places.push(letters.indexOf(String.fromCharCode(65 + i)));
  }
  const [a = 0, b = 0, c = 0, d = 0, ...rest] = places;
  return [a, b, c, d, ...rest];
}

/** The 64-bit form of a 32-bit order: the same swaps, over four words. */
function widened(order: string): string {
  if (order === 'CDAB') return 'GHEFCDAB';
  if (order === 'BADC') return 'BADCFEHG';
  return order === 'DCBA' ? 'HGFEDCBA' : 'ABCDEFGH';
}

function word(bytes: Uint8Array, at: number, a: number, b: number, c: number, d: number): number {
  return (
    (byte(bytes, at + a) << 24) |
    (byte(bytes, at + b) << 16) |
    (byte(bytes, at + c) << 8) |
    byte(bytes, at + d)
  );
}

function byte(bytes: Uint8Array, at: number): number {
  return bytes[at] ?? 0;
}

const PADDING = new Set([0x00, 0x20, 0xff]);

/** A text of a tag's registers, without what fills it at its end. */
export function decodeText(bytes: Uint8Array, tag: Tag): string {
  const layout = tag.text?.bytes ?? 'both';
  const characters: number[] = [];
  for (let at = 0; at + 1 < bytes.length; at += 2) {
    const [high, low] = [byte(bytes, at), byte(bytes, at + 1)];
    if (layout === 'both') characters.push(high, low);
    else if (layout === 'swapped') characters.push(low, high);
    else characters.push(layout === 'high' ? high : low);
  }
  const encoding = tag.text?.encoding ?? 'ascii';
  let end = characters.length;
  if (encoding === 'utf-16') return utf16(characters);
  // A zero byte ends a text wherever it stands.
  const zero = characters.indexOf(0);
  if (zero >= 0) end = zero;
  while (end > 0 && PADDING.has(characters[end - 1] ?? 0)) end -= 1;
  const text = Buffer.from(characters.slice(0, end));
  return encoding === 'utf-8' ? text.toString('utf8') : text.toString('latin1');
}

function utf16(characters: readonly number[]): string {
  let text = '';
  for (let at = 0; at + 1 < characters.length; at += 2) {
    const unit = (byte(Uint8Array.from(characters), at) << 8) | (characters[at + 1] ?? 0);
    if (unit === 0) break;
    text += String.fromCharCode(unit);
  }
  return text.trimEnd();
}

/** The registers that hold a raw value: the inverse of rawReader(). */
export function encodeRaw(tag: Pick<Tag, 'type' | 'order'>, raw: Raw): Uint8Array {
  const size = tag.type.endsWith('64') ? 8 : tag.type.endsWith('32') ? 4 : 2;
  if (tag.type === 'float64') scratch.setFloat64(0, Number(raw));
  else if (tag.type === 'float32') scratch.setFloat32(0, Number(raw));
  else if (size === 8) scratch.setBigUint64(0, BigInt.asUintN(64, BigInt(raw)));
  else if (size === 4) scratch.setInt32(0, Number(raw));
  else scratch.setInt16(0, Number(raw));
  const bytes = new Uint8Array(size);
  for (const [i, place] of placesOf(tag.order, size).slice(0, size).entries()) {
    bytes[place] = scratch.getUint8(i);
  }
  return bytes;
}

/** A text as the tag's registers, filled up with its padding; null when it is too long. */
export function encodeText(tag: Tag, text: string): Uint8Array | null {
  const layout = tag.text?.bytes ?? 'both';
  const encoding = tag.text?.encoding ?? 'ascii';
  const characters =
    encoding === 'utf-16'
      ? Buffer.from(text, 'utf16le').swap16()
      : Buffer.from(text, encoding === 'utf-8' ? 'utf8' : 'latin1');
  const isHalf = layout === 'high' || layout === 'low';
  if (characters.length > tag.quantity * (isHalf ? 1 : 2)) return null;
  const bytes = new Uint8Array(2 * tag.quantity).fill(isHalf ? 0 : (tag.text?.pad ?? 0));
  for (const [i, character] of characters.entries()) {
    if (isHalf) bytes[2 * i + (layout === 'high' ? 0 : 1)] = character;
    else bytes[layout === 'swapped' ? i ^ 1 : i] = character;
  }
  return bytes;
}
