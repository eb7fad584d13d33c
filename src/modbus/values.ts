/**
 * Registers <-> raw values. One row a value type: how many registers it takes and how its bytes, most significant
 * first, are read and written. A new type is one row here; the schema, editor completion and reference page follow.
 * What a raw value means (scale, bits, names) is conversion.ts's.
 */
import { byteAt, setWord, wordAt } from './bytes.js';
import { DATE_TYPES } from './dates.js';
import type { DateType } from './dates.js';

export type ValueType =
  | 'bool'
  | 'int16'
  | 'uint16'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'float32'
  | 'float64'
  /** The high or the low byte of one register. */
  | 'int8_high'
  | 'int8_low'
  | 'uint8_high'
  | 'uint8_low'
  /** Four bits a decimal digit. */
  | 'bcd16'
  | 'bcd32'
  | 'bcd64'
  /** The highest bit is the sign, the others the magnitude. */
  | 'sign_magnitude16'
  | 'sign_magnitude32'
  /** Registers that count to 9999 each, most significant first. */
  | 'mod10k32'
  | 'mod10k48'
  | 'mod10k64'
  /** A float32 power factor that wraps round at 1 and -1 to tell its quadrant. */
  | 'pf4q'
  | DateType
  | 'string';

/** A decoded value: 64-bit integers beyond 2^53 are bigint, everything else is what JSON has. */
export type Value = number | bigint | boolean | string;

/** What the registers hold before scale, bits and names. NaN: nothing that the type can say. */
export type Raw = number | bigint | string;

/** Which byte of the value (A is the most significant) lies where on the wire. */
export type WordOrder =
  | 'ABCD'
  | 'CDAB'
  | 'BADC'
  | 'DCBA'
  /** Of 64 bits only the words of each half are swapped, or only the halves, with or without the bytes of each word. */
  | 'CDABGHEF'
  | 'EFGHABCD'
  | 'FEHGBADC'
  | 'DCBAHGFE';

export interface TypeRow {
  /** 0: as many as the tag says. */
  readonly registers: number;
  readonly kind: 'bool' | 'integer' | 'float' | 'date' | 'text';
  /** Least and most of an integer, as far as the registers can hold it. */
  readonly least: bigint;
  readonly most: bigint;
  /** The one byte of the register that it takes; null: whole registers. */
  readonly half: 'high' | 'low' | null;
  read(bytes: Uint8Array, at: number): Raw;
  /** The value is within least and most, or was found to be a float or date of this type. */
  write(bytes: Uint8Array, raw: Raw): void;
}

const view = new DataView(new ArrayBuffer(8));

const integer = (
  registers: number,
  least: bigint,
  most: bigint,
  read: TypeRow['read'],
  write: TypeRow['write'],
  half: TypeRow['half'] = null,
): TypeRow => ({ registers, kind: 'integer', least, most, half, read, write });

const float = (registers: number, read: TypeRow['read'], write: TypeRow['write']): TypeRow => ({
  registers,
  kind: 'float',
  least: 0n,
  most: 0n,
  half: null,
  read,
  write,
});

const readUint16 = (bytes: Uint8Array, at: number): number => wordAt(bytes, at);
const readInt16 = (bytes: Uint8Array, at: number): number => (wordAt(bytes, at) << 16) >> 16;
const readInt32 = (bytes: Uint8Array, at: number): number =>
  (wordAt(bytes, at) << 16) | wordAt(bytes, at + 2);
const readUint32 = (bytes: Uint8Array, at: number): number => readInt32(bytes, at) >>> 0;

/** A bigint is made only when a number would lose digits: most counters never get there. */
function readInt64(bytes: Uint8Array, at: number): Raw {
  const high = readInt32(bytes, at);
  const low = readUint32(bytes, at + 4);
  if (high >= -0x200000 && high < 0x200000) return high * 0x1_0000_0000 + low;
  return (BigInt(high) << 32n) | BigInt(low);
}

function readUint64(bytes: Uint8Array, at: number): Raw {
  const high = readUint32(bytes, at);
  const low = readUint32(bytes, at + 4);
  return high < 0x200000 ? high * 0x1_0000_0000 + low : (BigInt(high) << 32n) | BigInt(low);
}

function readFloat32(bytes: Uint8Array, at: number): number {
  return shortest(exactFloat32(bytes, at));
}

function exactFloat32(bytes: Uint8Array, at: number): number {
  view.setInt32(0, readInt32(bytes, at));
  return view.getFloat32(0);
}

/** Powers of ten that a number holds exactly. */
const POWERS_OF_TEN = Array.from({ length: 23 }, (_, exponent) => Number(`1e${exponent}`));

/**
 * The number of fewest digits that is the same float32: the device that measured 23.1 means 23.1, and not the
 * 23.100000381469727 that its bits are. Whole numbers, such as counts, keep all theirs.
 */
function shortest(float: number): number {
  if (Number.isSafeInteger(float)) return float;
  const magnitude = Math.abs(float);
  if (!(magnitude > 1e-12 && magnitude < Number.MAX_SAFE_INTEGER)) return shortestExtreme(float);
  for (const power of POWERS_OF_TEN) {
    const decimal = Math.round(magnitude * power) / power;
    if (Math.fround(decimal) === magnitude) return float < 0 ? -decimal : decimal;
  }
  return float;
}

/** Where the powers do not reach; seldom measured. */
function shortestExtreme(float: number): number {
  if (!Number.isFinite(float)) return float;
  for (let digits = 1; digits <= FLOAT32_DIGITS_MAX; digits += 1) {
    const decimal = Number(float.toPrecision(digits));
    if (Math.fround(decimal) === float) return decimal;
  }
  return float;
}

/** So many tell every float32 from its neighbours. */
const FLOAT32_DIGITS_MAX = 9;

function readFloat64(bytes: Uint8Array, at: number): number {
  view.setInt32(0, readInt32(bytes, at));
  view.setInt32(4, readInt32(bytes, at + 4));
  return view.getFloat64(0);
}

function writeInteger(registers: number): TypeRow['write'] {
  return (bytes, raw) => {
    let rest = BigInt.asUintN(16 * registers, BigInt(raw));
    for (let at = 2 * registers - 1; at >= 0; at -= 1) {
      bytes[at] = Number(rest & 0xffn);
      rest >>= 8n;
    }
  };
}

function writeFloat32(bytes: Uint8Array, raw: Raw): void {
  view.setFloat32(0, Number(raw));
  for (let at = 0; at < 4; at += 1) bytes[at] = view.getUint8(at);
}

function writeFloat64(bytes: Uint8Array, raw: Raw): void {
  view.setFloat64(0, Number(raw));
  for (let at = 0; at < 8; at += 1) bytes[at] = view.getUint8(at);
}

function bits(count: number): TypeRow {
  const least = -(1n << BigInt(16 * count - 1));
  const read = count === 1 ? readInt16 : count === 2 ? readInt32 : readInt64;
  return integer(count, least, -least - 1n, read, writeInteger(count));
}

function unsignedBits(count: number): TypeRow {
  const most = (1n << BigInt(16 * count)) - 1n;
  const read = count === 1 ? readUint16 : count === 2 ? readUint32 : readUint64;
  return integer(count, 0n, most, read, writeInteger(count));
}

function half(which: 'high' | 'low', isSigned: boolean): TypeRow {
  const place = which === 'high' ? 0 : 1;
  const read: TypeRow['read'] = (bytes, at) => {
    const byte = byteAt(bytes, at + place);
    return isSigned ? (byte << 24) >> 24 : byte;
  };
  const write: TypeRow['write'] = (bytes, raw) => {
    bytes[place] = Number(raw) & 0xff;
  };
  return integer(1, isSigned ? -128n : 0n, isSigned ? 127n : 255n, read, write, which);
}

/** Digits above 9 are no number: devices that have none send 0xFFFF. */
function bcd(registers: number): TypeRow {
  const read: TypeRow['read'] = (bytes, at) => {
    let value = 0;
    for (let next = at; next < at + 2 * registers; next += 1) {
      const [high, low] = [byteAt(bytes, next) >>> 4, byteAt(bytes, next) & 0xf];
      if (high > 9 || low > 9) return NaN;
      value = value * 100 + high * 10 + low;
      if (value > Number.MAX_SAFE_INTEGER / 100) return exactBcd(bytes, at, registers);
    }
    return value;
  };
  const write: TypeRow['write'] = (bytes, raw) => {
    let rest = BigInt(raw);
    for (let at = 2 * registers - 1; at >= 0; at -= 1) {
      const pair = Number(rest % 100n);
      bytes[at] = (Math.floor(pair / 10) << 4) | (pair % 10);
      rest /= 100n;
    }
  };
  return integer(registers, 0n, 10n ** BigInt(4 * registers) - 1n, read, write);
}

/** Sixteen digits may be more than a number holds. */
function exactBcd(bytes: Uint8Array, at: number, registers: number): Raw {
  let digits = '';
  for (let next = at; next < at + 2 * registers; next += 1)
    digits += byteAt(bytes, next).toString(16).padStart(2, '0');
  if (!/^\d+$/.test(digits)) return NaN;
  const value = BigInt(digits);
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value;
}

function signMagnitude(registers: 1 | 2): TypeRow {
  const sign = registers === 1 ? 0x8000 : 0x8000_0000;
  const read: TypeRow['read'] = (bytes, at) => {
    const word = registers === 1 ? readUint16(bytes, at) : readUint32(bytes, at);
    const magnitude = word % sign;
    return word >= sign && magnitude !== 0 ? -magnitude : magnitude;
  };
  const write: TypeRow['write'] = (bytes, raw) => {
    const value = Number(raw);
    const word = value < 0 ? sign - value : value;
    if (registers === 2) setWord(bytes, 0, Math.floor(word / 0x10000));
    setWord(bytes, 2 * registers - 2, word % 0x10000);
  };
  const most = BigInt(sign - 1);
  return integer(registers, -most, most, read, write);
}

function mod10k(registers: number): TypeRow {
  const read: TypeRow['read'] = (bytes, at) => {
    let exact = 0n;
    let value = 0;
    for (let next = at; next < at + 2 * registers; next += 2) {
      const part = wordAt(bytes, next);
      if (part > 9999) return NaN;
      if (registers === 4) exact = exact * 10_000n + BigInt(part);
      value = value * 10_000 + part;
    }
    return value <= Number.MAX_SAFE_INTEGER ? value : exact;
  };
  const write: TypeRow['write'] = (bytes, raw) => {
    let rest = BigInt(raw);
    for (let at = 2 * registers - 2; at >= 0; at -= 2) {
      setWord(bytes, at, Number(rest % 10_000n));
      rest /= 10_000n;
    }
  };
  return integer(registers, 0n, 10_000n ** BigInt(registers) - 1n, read, write);
}

/** Above 1 it comes back from 1, below -1 from -1: there the current leads. The quadrant is not part of the value. */
function readPowerFactor(bytes: Uint8Array, at: number): number {
  const value = exactFloat32(bytes, at);
  if (!(Math.abs(value) <= 2)) return NaN;
  if (value > 1) return shortest(2 - value);
  return shortest(value < -1 ? -2 - value : value);
}

function date(type: DateType): TypeRow {
  const { registers, read, write } = DATE_TYPES[type];
  return {
    registers,
    kind: 'date',
    least: 0n,
    most: 0n,
    half: null,
    read: (bytes, at) => {
      const text = read(bytes, at);
      return text === '' ? NaN : text;
    },
    write: (bytes, raw) => write(bytes, String(raw)),
  };
}

const BOOL: TypeRow = {
  ...unsignedBits(1),
  kind: 'bool',
  most: 1n,
};

const STRING: TypeRow = { ...unsignedBits(1), registers: 0, kind: 'text' };

export const VALUE_TYPES: Readonly<Record<ValueType, TypeRow>> = {
  bool: BOOL,
  int16: bits(1),
  uint16: unsignedBits(1),
  int32: bits(2),
  uint32: unsignedBits(2),
  int64: bits(4),
  uint64: unsignedBits(4),
  float32: float(2, readFloat32, writeFloat32),
  float64: float(4, readFloat64, writeFloat64),
  int8_high: half('high', true),
  int8_low: half('low', true),
  uint8_high: half('high', false),
  uint8_low: half('low', false),
  bcd16: bcd(1),
  bcd32: bcd(2),
  bcd64: bcd(4),
  sign_magnitude16: signMagnitude(1),
  sign_magnitude32: signMagnitude(2),
  mod10k32: mod10k(2),
  mod10k48: mod10k(3),
  mod10k64: mod10k(4),
  pf4q: float(2, readPowerFactor, writeFloat32),
  datetime3: date('datetime3'),
  datetime4: date('datetime4'),
  datetime6: date('datetime6'),
  unixtime: date('unixtime'),
  hhmm: date('hhmm'),
  string: STRING,
};

/** Where in its registers the lowest bit of an integer lies: the high byte of a register begins in its middle. */
export function lowestBitOf(type: ValueType): number {
  return VALUE_TYPES[type].half === 'high' ? 8 : 0;
}

/** For each order: whether the words of a value are reversed, and the bytes within each word. */
const ORDERS: Readonly<Record<WordOrder, { readonly words: boolean; readonly bytes: boolean }>> = {
  ABCD: { words: false, bytes: false },
  CDAB: { words: true, bytes: false },
  BADC: { words: false, bytes: true },
  DCBA: { words: true, bytes: true },
  // Shorter values see what one half sees.
  CDABGHEF: { words: true, bytes: false },
  EFGHABCD: { words: false, bytes: false },
  FEHGBADC: { words: false, bytes: true },
  DCBAHGFE: { words: true, bytes: true },
};

/** Every name that an order may be written by: the orders themselves, and what makers and other tools call them. */
export const ORDER_NAMES = {
  ABCD: 'ABCD', CDAB: 'CDAB', BADC: 'BADC', DCBA: 'DCBA',
  big: 'ABCD', 'big-swap': 'BADC', 'little-swap': 'CDAB', little: 'DCBA',
  ABCDEFGH: 'ABCD', GHEFCDAB: 'CDAB', BADCFEHG: 'BADC', HGFEDCBA: 'DCBA',
  CDABGHEF: 'CDABGHEF', EFGHABCD: 'EFGHABCD', FEHGBADC: 'FEHGBADC', DCBAHGFE: 'DCBAHGFE',
  AB: 'ABCD', BA: 'BADC',
} as const satisfies Readonly<Record<string, WordOrder>>; // prettier-ignore

/** For each byte of a value, most significant first, where it lies on the wire. */
export function placesOf(order: WordOrder, size: number): readonly number[] {
  if (size === 8 && order.length === 8) {
    return Array.from({ length: 8 }, (_, index) => order.indexOf(String.fromCharCode(65 + index)));
  }
  const { words, bytes } = ORDERS[order];
  return Array.from({ length: size }, (_, index) => {
    const place = words ? size - 2 - (index & ~1) + (index & 1) : index;
    return bytes ? place ^ 1 : place;
  });
}

const scratch = new Uint8Array(32);

/** Reads one raw value from answer bytes; nothing is allocated for numbers. */
export function rawReader(type: ValueType, order: WordOrder): (bytes: Uint8Array, at: number) => Raw {
  const row = VALUE_TYPES[type];
  const places = placesOf(order, 2 * Math.max(1, row.registers));
  if (places.every((place, index) => place === index)) return row.read;
  return (bytes, at) => {
    for (let index = 0; index < places.length; index += 1) {
      scratch[index] = byteAt(bytes, at + (places[index] ?? 0));
    }
    return row.read(scratch, 0);
  };
}

/** The registers that hold a raw value which is known to fit. */
export function writeRaw(type: ValueType, order: WordOrder, raw: Raw): Uint8Array {
  const row = VALUE_TYPES[type];
  const size = 2 * Math.max(1, row.registers);
  const plain = new Uint8Array(size);
  row.write(plain, raw);
  const bytes = new Uint8Array(size);
  placesOf(order, size).forEach((place, index) => {
    bytes[place] = byteAt(plain, index);
  });
  return bytes;
}
