/**
 * Answer bytes -> the value of one tag, compiled once for each tag: raw value by type and order, bits, sentinels,
 * scale, enum, flags. Knows no quality: undefined means "not available", and the caller says so.
 */
import type { Tag } from '../config/plant.js';
import { isBitTable } from '../modbus/protocol.js';
import { decodeText, rawReader, type Raw } from './raw.js';
import type { Value } from '../modbus/values.js';

/** Reads a tag's value; factor is what scaleFrom's tag gives, 1 without. undefined: the device says "not available". */
export type Decode = (bytes: Uint8Array, offset: number, factor: number) => Value | undefined;

/** Value types beyond this many digits would lose them as a number. */
export function compileDecode(tag: Tag): Decode {
  if (isBitTable(tag.table)) return (bytes, bit) => ((bytes[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  if (tag.type === 'string') return textDecode(tag);
  const read = rawReader(tag);
  const take = tag.bits === null ? read : bitsOf(read, tag.bits.first, tag.bits.last);
  const isInvalid = invalidCheck(tag);
  const finish = finisher(tag);
  return (bytes, offset, factor) => {
    const raw = take(bytes, offset);
    return isInvalid(raw) ? undefined : finish(raw, factor);
  };
}

function textDecode(tag: Tag): Decode {
  const invalid = tag.invalid.filter((entry) => typeof entry === 'string');
  return (bytes, offset) => {
    const text = decodeText(bytes.subarray(offset, offset + 2 * tag.quantity), tag);
    return invalid.includes(text) ? undefined : text;
  };
}

function bitsOf(read: (bytes: Uint8Array, offset: number) => Raw, first: number, last: number) {
  const width = last - first + 1;
  return (bytes: Uint8Array, offset: number): Raw => {
    const raw = read(bytes, offset);
    if (typeof raw === 'bigint' || last > 30) {
      const part = Number(BigInt.asUintN(width, BigInt(raw) >> BigInt(first)));
      return part;
    }
    return (raw >> first) & (2 ** width - 1);
  };
}

/** Floats that are no number are never values; sentinels compare with the raw value before bits and scale. */
function invalidCheck(tag: Tag): (raw: Raw) => boolean {
  const sentinels = new Set<Raw>();
  for (const entry of tag.invalid) {
    if (typeof entry === 'string') continue;
    sentinels.add(entry);
    // A sentinel may be written as a number where the raw value is a bigint, and the other way round.
    if (typeof entry === 'bigint') sentinels.add(Number(entry));
    else if (Number.isInteger(entry)) sentinels.add(BigInt(entry));
  }
  const isFloat = tag.type === 'float32' || tag.type === 'float64';
  if (sentinels.size === 0) {
    return isFloat ? (raw) => typeof raw === 'number' && !Number.isFinite(raw) : () => false;
  }
  return (raw) => sentinels.has(raw) || (typeof raw === 'number' && !Number.isFinite(raw));
}

function finisher(tag: Tag): (raw: Raw, factor: number) => Value | undefined {
  const { enum: rows, flags, scale, offset } = tag;
  if (tag.type === 'bool') return (raw) => raw !== 0 && raw !== 0n;
  if (rows !== null) {
    const texts = new Map(rows.map((row) => [row.raw, row.text]));
    return (raw) => texts.get(Number(raw)) ?? narrow(raw);
  }
  if (flags !== null) {
    return (raw) =>
      flags
        .filter(({ bit }) => (BigInt(raw) >> BigInt(bit)) & 1n)
        .map(({ text }) => text)
        .join(',');
  }
  if (scale === 1 && offset === 0 && tag.scaleFrom === null) return narrow;
  const decimals = decimalsOf(scale, offset);
  const round = decimals === null || tag.scaleFrom !== null ? null : 10 ** decimals;
  const isInteger = tag.type !== 'float32' && tag.type !== 'float64';
  return (raw, factor) => {
    const value = Number(raw) * scale * factor + offset;
    if (!Number.isFinite(value)) return undefined;
    // 214 x 0.1 is 21.4, not 21.400000000000002: an integer's digits after the point are those of scale and offset.
    if (!isInteger) return value;
    if (round !== null) return roundTo(value, round);
    return Number(value.toPrecision(15));
  };
}

function roundTo(value: number, factor: number): number {
  const scaled = Math.round(value * factor);
  return Math.abs(scaled) < 2 ** 53 ? scaled / factor : value;
}

/** 64-bit integers are bigint only where a number would lose digits. */
function narrow(raw: Raw): Value {
  if (typeof raw !== 'bigint') return raw;
  return raw >= -9007199254740991n && raw <= 9007199254740991n ? Number(raw) : raw;
}

/** How many digits after the point scale and offset have; null when more than a double can be rounded to. */
export function decimalsOf(scale: number, offset: number): number | null {
  for (let decimals = 0; decimals <= 12; decimals += 1) {
    const factor = 10 ** decimals;
    if (isWhole(scale * factor) && isWhole(offset * factor)) return decimals;
  }
  return null;
}

function isWhole(value: number): boolean {
  return Math.abs(value - Math.round(value)) <= 1e-9 * Math.max(1, Math.abs(value));
}

/** Whether an enum or plausibility says that a decoded value is not to be believed. */
export function isImplausible(tag: Tag, value: Value): boolean {
  if (tag.enum !== null) return typeof value !== 'string';
  if (tag.plausible === null) return false;
  if (typeof value === 'number' || typeof value === 'bigint') {
    return value < tag.plausible.min || value > tag.plausible.max;
  }
  return false;
}
