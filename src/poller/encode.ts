/**
 * A command's JSON -> what goes to the device: checked against the tag's type, range, step, enum and bits, and encoded
 * as registers, a bit, or some bits of a register.
 */
import type { Tag } from '../config/plant.js';
import { isBitTable } from '../modbus/protocol.js';
import { encodeRaw, encodeText, type Raw } from './raw.js';

export type Encoded =
  | { readonly kind: 'bits'; readonly bits: readonly boolean[]; readonly json: string }
  | { readonly kind: 'registers'; readonly registers: Uint8Array; readonly json: string }
  /** register = (register and not mask) or value. */
  | { readonly kind: 'masked'; readonly mask: number; readonly value: number; readonly json: string }
  | { readonly kind: 'refused'; readonly code: 'RANGE' | 'TYPE' | 'READ_ONLY'; readonly text: string };

const INTEGER_LIMITS: Readonly<Record<string, readonly [bigint, bigint]>> = {
  bool: [0n, 1n],
  int16: [-0x8000n, 0x7fffn],
  uint16: [0n, 0xffffn],
  int32: [-0x80000000n, 0x7fffffffn],
  uint32: [0n, 0xffffffffn],
  int64: [-0x8000000000000000n, 0x7fffffffffffffffn],
  uint64: [0n, 0xffffffffffffffffn],
};

/** Longer commands than any value needs are not parsed. */
const COMMAND_BYTES_MAX = 4096;

type Json = number | bigint | boolean | string;

export function encodeCommand(tag: Tag, payload: Uint8Array): Encoded {
  if (tag.write === null) return refused('READ_ONLY', 'the tag cannot be written');
  const value = parse(payload);
  if (value === undefined) return refused('TYPE', 'expected a JSON number, boolean or string');
  if (isBitTable(tag.write.table)) return encodeBit(value);
  if (tag.type === 'string') return encodeString(tag, value);
  const raw = rawOf(tag, value);
  if (typeof raw === 'object') return raw;
  const json = typeof value === 'bigint' ? value.toString() : JSON.stringify(value);
  if (tag.bits !== null) return encodeBits(tag.bits.first, tag.bits.last, raw, json);
  if (tag.type !== 'float32' && tag.type !== 'float64') {
    const [least, most] = INTEGER_LIMITS[tag.type] ?? [0n, 0n];
    if (BigInt(raw) < least || BigInt(raw) > most)
      return refused('RANGE', `${json} does not fit into ${tag.type}`);
  }
  return { kind: 'registers', registers: encodeRaw(tag, raw), json };
}

function refused(code: 'RANGE' | 'TYPE' | 'READ_ONLY', text: string): Encoded & { kind: 'refused' } {
  return { kind: 'refused', code, text };
}

/** JSON text to a value; whole numbers beyond 2^53 keep all their digits. */
function parse(payload: Uint8Array): Json | undefined {
  if (payload.length > COMMAND_BYTES_MAX) return undefined;
  const text = Buffer.from(payload.buffer, payload.byteOffset, payload.length).toString('utf8').trim();
  if (/^-?\d{16,20}$/.test(text)) return BigInt(text);
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    return typeof value === 'boolean' || typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}

function encodeBit(value: Json): Encoded {
  const bit = truthOf(value);
  if (bit === undefined) return refused('TYPE', 'expected true, false, 1 or 0');
  return { kind: 'bits', bits: [bit], json: String(bit) };
}

function truthOf(value: Json): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (value === 1 || value === 'true' || value === 'on' || value === 'ON') return true;
  if (value === 0 || value === 'false' || value === 'off' || value === 'OFF') return false;
  return undefined;
}

function encodeString(tag: Tag, value: Json): Encoded {
  if (typeof value !== 'string') return refused('TYPE', 'expected a JSON string');
  const registers = encodeText(tag, value);
  if (registers === null) return refused('RANGE', `longer than the tag's ${tag.quantity} registers`);
  return { kind: 'registers', registers, json: JSON.stringify(value) };
}

function encodeBits(first: number, last: number, raw: Raw, json: string): Encoded {
  const width = last - first + 1;
  const bits = Number(raw);
  if (last > 15) return refused('TYPE', 'bits beyond the first register cannot be written');
  if (!Number.isInteger(bits) || bits < 0 || bits >= 2 ** width)
    return refused('RANGE', `${json} does not fit into bits ${first} to ${last}`);
  return { kind: 'masked', mask: (2 ** width - 1) << first, value: bits << first, json };
}

/** The raw value for a command's value, or why there is none. */
function rawOf(tag: Tag, value: Json): Raw | (Encoded & { kind: 'refused' }) {
  if (tag.type === 'bool') {
    const bit = truthOf(value);
    return bit === undefined ? refused('TYPE', 'expected true, false, 1 or 0') : bit ? 1 : 0;
  }
  if (typeof value === 'string') return rawOfText(tag, value);
  if (typeof value === 'boolean') return refused('TYPE', 'expected a number');
  if (tag.enum !== null) {
    if (tag.enum.some((row) => row.raw === Number(value))) return Number(value);
    return refused('RANGE', `expected one of ${tag.enum.map((row) => row.text).join(', ')}`);
  }
  const outside = outsideOf(tag, value);
  return outside ?? unscaled(tag, value);
}

function rawOfText(tag: Tag, text: string): Raw | (Encoded & { kind: 'refused' }) {
  const row = tag.enum?.find((known) => known.text === text);
  if (row !== undefined) return row.raw;
  if (tag.enum !== null)
    return refused('RANGE', `expected one of ${tag.enum.map((known) => known.text).join(', ')}`);
  if (tag.flags === null) return refused('TYPE', 'expected a number');
  let raw = 0n;
  for (const name of text === '' ? [] : text.split(',')) {
    const flag = tag.flags.find((known) => known.text === name.trim());
    if (flag === undefined)
      return refused('RANGE', `expected some of ${tag.flags.map((known) => known.text).join(', ')}`);
    raw |= 1n << BigInt(flag.bit);
  }
  return raw;
}

function outsideOf(tag: Tag, value: number | bigint): (Encoded & { kind: 'refused' }) | null {
  const { min, max, step } = tag.write ?? { min: -Infinity, max: Infinity, step: 0 };
  if (value < min || value > max) return refused('RANGE', `${value} is outside ${min} to ${max}`);
  if (step > 0) {
    const steps = (Number(value) - (Number.isFinite(min) ? min : 0)) / step;
    if (Math.abs(steps - Math.round(steps)) > 1e-6 * Math.max(1, Math.abs(steps)))
      return refused('RANGE', `${value} is not a multiple of ${step}`);
  }
  return null;
}

function unscaled(tag: Tag, value: number | bigint): Raw | (Encoded & { kind: 'refused' }) {
  const isFloat = tag.type === 'float32' || tag.type === 'float64';
  if (tag.scale === 1 && tag.offset === 0) {
    if (isFloat) return fitting(tag, Number(value));
    if (typeof value === 'number' && !Number.isInteger(value))
      return refused('RANGE', `${value} is not a whole number`);
    return value;
  }
  const raw = (Number(value) - tag.offset) / tag.scale;
  if (isFloat) return fitting(tag, raw);
  const whole = Math.round(raw);
  // What the register cannot hold is refused, not rounded in silence: 21.44 with a scale of 0.1 is 214.4.
  if (Math.abs(raw - whole) > 1e-6 * Math.max(1, Math.abs(raw)))
    return refused('RANGE', `${value} is not a multiple of ${tag.scale}`);
  return whole;
}

function fitting(tag: Tag, raw: number): Raw | (Encoded & { kind: 'refused' }) {
  if (tag.type === 'float32' && Math.abs(raw) > 3.4028234663852886e38)
    return refused('RANGE', `${raw} does not fit into float32`);
  return raw;
}
