/**
 * Raw values <-> values: bits, sentinels, scale and offset, names of numbers and of bits. Compiled once for each tag,
 * both ways from the same description. Expected refusals are results, not exceptions; undefined is "not available".
 */
import { wordAt } from './bytes.js';
import { dateProblem } from './dates.js';
import { decimalOf, digitsWith, stepsTo } from './decimal.js';
import type { DateType } from './dates.js';
import { PLAIN_TEXT, readText, writeText } from './text.js';
import type { TextForm } from './text.js';
import { VALUE_TYPES, lowestBitOf, rawReader, writeRaw } from './values.js';
import type { Raw, Value, ValueType, WordOrder } from './values.js';

/** How a value lies in its registers and what it means; the Plant's Tag is one. */
export interface ValueForm {
  readonly type: ValueType;
  readonly order: WordOrder;
  /** Registers; what a string needs to know. */
  readonly quantity: number;
  readonly scale: number;
  readonly offset: number;
  readonly bits: { readonly first: number; readonly last: number } | null;
  readonly enum: readonly { readonly raw: number; readonly text: string }[] | null;
  readonly flags: readonly { readonly bit: number; readonly text: string }[] | null;
  readonly text: TextForm | null;
  /** Raw values that mean "not available": before bits and scale; "nan" is always meant. */
  readonly invalid: readonly (number | bigint | string)[];
}

/** factor: what another register multiplies the value by; 1 without. */
export type Decode = (bytes: Uint8Array, at: number, factor: number) => Value | undefined;

export function compileDecode(form: ValueForm): Decode {
  const { type, bits } = form;
  const row = VALUE_TYPES[type];
  const isSentinel = sentinelCheck(form);
  if (row.kind === 'text') {
    const text = form.text ?? PLAIN_TEXT;
    return (bytes, at) => unless(isSentinel, readText(bytes, at, form.quantity, text));
  }
  const read = rawReader(type, form.order);
  if (row.kind === 'date') return (bytes, at) => unless(isSentinel, read(bytes, at));
  const pick = bits === null ? null : picker(bits.first, bits.last);
  const finish = finisher(form);
  return (bytes, at, factor) => {
    const raw = read(bytes, at);
    if (isSentinel(raw)) return undefined;
    return finish(pick === null ? raw : pick(raw), factor);
  };
}

function unless(isSentinel: (raw: Raw) => boolean, raw: Raw): Value | undefined {
  return isSentinel(raw) ? undefined : raw;
}

/** No number is ever a value, whatever the sentinels say. */
function sentinelCheck({ invalid }: ValueForm): (raw: Raw) => boolean {
  const sentinels = new Set<Raw>();
  for (const entry of invalid) {
    sentinels.add(entry);
    // The same sentinel, whether the value at hand is a number or a bigint.
    if (typeof entry === 'bigint') sentinels.add(Number(entry));
    else if (typeof entry === 'number' && Number.isInteger(entry)) sentinels.add(BigInt(entry));
  }
  if (sentinels.size === 0) return (raw) => typeof raw === 'number' && !Number.isFinite(raw);
  return (raw) => sentinels.has(raw) || (typeof raw === 'number' && !Number.isFinite(raw));
}

function picker(first: number, last: number): (raw: Raw) => Raw {
  const width = last - first + 1;
  if (last > 30 || width > 30) {
    return (raw) => narrow(BigInt.asUintN(width, BigInt(raw) >> BigInt(first)));
  }
  const mask = 2 ** width - 1;
  return (raw) =>
    typeof raw === 'number' && Math.abs(raw) < 0x8000_0000
      ? (raw >> first) & mask
      : Number(BigInt.asUintN(width, BigInt(raw) >> BigInt(first)));
}

/** 64-bit integers are bigint only where a number would lose digits. */
function narrow(raw: bigint): number | bigint {
  return raw >= -SAFE && raw <= SAFE ? Number(raw) : raw;
}

const SAFE = BigInt(Number.MAX_SAFE_INTEGER);

function finisher(form: ValueForm): (raw: Raw, factor: number) => Value | undefined {
  const { type, enum: names, flags, bits } = form;
  const row = VALUE_TYPES[type];
  if (row.kind === 'bool') {
    const nameOf = truthNamer(names);
    return (raw) => nameOf(raw !== 0 && raw !== 0n);
  }
  if (names !== null) {
    const texts = new Map<Raw, string>(names.map(({ raw, text }) => [raw, text]));
    return (raw) => texts.get(raw) ?? raw;
  }
  if (flags !== null) return (raw) => flagText(flags, raw);
  if (row.kind === 'float' && bits === null) return floatFinisher(form);
  return integerFinisher(form);
}

/** What an enum calls true (1) and false (0); what it has no name for stays a truth. */
export function truthNamer(names: ValueForm['enum']): (truth: boolean) => boolean | string {
  const nameOf = (raw: number): string | undefined => names?.find((row) => row.raw === raw)?.text;
  const [no, yes] = [nameOf(0) ?? false, nameOf(1) ?? true];
  return (truth) => (truth ? yes : no);
}

/** A truth as people write it. Of texts its names alone count where it has any: an "on" that it does not know may be its "off". */
export function truthOf(value: Value, names: ValueForm['enum']): boolean | undefined {
  if (typeof value === 'boolean') return value;
  if (names !== null && typeof value === 'string') {
    const raw = names.find(({ text }) => text === value)?.raw;
    return raw === undefined ? undefined : raw === 1;
  }
  if (value === 1 || value === 'true' || value === 'on' || value === 'ON') return true;
  if (value === 0 || value === 'false' || value === 'off' || value === 'OFF') return false;
  return undefined;
}

export function truthsText(names: ValueForm['enum']): string {
  return `expected ${(names ?? []).map(({ text }) => `${text}, `).join('')}true, false, 1 or 0`;
}

function flagText(flags: NonNullable<ValueForm['flags']>, raw: Raw): string {
  const set = BigInt(raw);
  const texts: string[] = [];
  for (const { bit, text } of flags) if (((set >> BigInt(bit)) & 1n) === 1n) texts.push(text);
  return texts.join(',');
}

/**
 * Scale and offset of an integer are decimal fractions: with their digits shifted out the sum is exact, and one
 * division gives the number that is meant: 21.4, not 21.400000000000002.
 */
function integerFinisher({ scale, offset }: ValueForm): (raw: Raw, factor: number) => Value | undefined {
  const digits = Math.max(decimalOf(scale).places, decimalOf(offset).places);
  if (digits > DIGITS_MAX) {
    return (raw, factor) => finite(clean(Number(raw) * scale * factor + offset));
  }
  const shift = 10 ** digits;
  const [shiftedScale, shiftedOffset] = [Math.round(scale * shift), Math.round(offset * shift)];
  const isPlain = scale === 1 && offset === 0;
  const isShort = Number.isSafeInteger(shiftedScale) && Number.isSafeInteger(shiftedOffset);
  const exact = exactFinisher(scale, offset, digits);
  return (raw, factor) => {
    if (factor === 1) {
      if (isPlain) return raw;
      const product = Number(raw) * shiftedScale;
      const sum = product + shiftedOffset;
      const isExact = isShort && Number.isSafeInteger(product) && Number.isSafeInteger(sum);
      return isExact ? sum / shift : exact(BigInt(raw));
    }
    if (factor !== 0 && Number.isInteger(1 / factor)) {
      const divided = (Number(raw) * shiftedScale) / (shift * (1 / factor));
      return finite(offset === 0 ? divided : clean(divided + offset));
    }
    return finite(clean(Number(raw) * scale * factor + offset));
  };
}

const DIGITS_MAX = 12;

/** The same where a number would lose digits; whole numbers keep all of theirs. */
function exactFinisher(scale: number, offset: number, digits: number): (raw: bigint) => number | bigint {
  const [shiftedScale, shiftedOffset] = [digitsWith(scale, digits), digitsWith(offset, digits)];
  return (raw) => {
    const sum = raw * shiftedScale + shiftedOffset;
    return digits === 0 ? narrow(sum) : Number(`${sum}e-${digits}`);
  };
}

/** A float is told as it was read; only what scale and offset add is cleaned up. */
function floatFinisher({ scale, offset }: ValueForm): (raw: Raw, factor: number) => Value | undefined {
  const isPlain = scale === 1 && offset === 0;
  return (raw, factor) => {
    const value = Number(raw);
    return isPlain && factor === 1 ? value : finite(clean(value * scale * factor + offset));
  };
}

/** Without the digits that only binary arithmetic put there. */
function clean(value: number): number {
  return Number.isInteger(value) ? value : Number(value.toPrecision(14));
}

function finite(value: number): number | undefined {
  return Number.isFinite(value) ? value : undefined;
}

/** What goes to the registers from the tag's address on, or why nothing does. */
export type Encoded =
  | { readonly kind: 'registers'; readonly registers: Uint8Array }
  /** For each register concerned: new = (old and not mask) or value. */
  | { readonly kind: 'masked'; readonly parts: readonly MaskedRegister[] }
  | { readonly kind: 'refused'; readonly code: 'RANGE' | 'TYPE'; readonly text: string };

export interface MaskedRegister {
  /** Counted from the value's first register. */
  readonly register: number;
  readonly mask: number;
  readonly value: number;
}

export function encodeValue(form: ValueForm, value: Value, factor = 1): Encoded {
  const row = VALUE_TYPES[form.type];
  if (row.kind === 'text') return encodeText(form, value);
  if (row.kind === 'date') return encodeDate(form, form.type as DateType, value); // kind date is DATE_TYPES' rows only
  if (form.type === 'pf4q') return refused('TYPE', 'a power factor with quadrants is not written');
  const raw = rawOf(form, value, factor);
  if (typeof raw === 'object') return raw;
  if (form.bits !== null) return encodeBits(form, form.bits, raw);
  if (form.flags !== null && typeof value === 'string') return encodeFlags(form, form.flags, BigInt(raw));
  if (row.kind === 'float') return encodeFloat(form, raw);
  if (!isWhole(raw)) return refused('RANGE', `${raw} is not a whole number`);
  if (BigInt(raw) < row.least || BigInt(raw) > row.most)
    return refused('RANGE', `${value} does not fit into ${form.type}`);
  const registers = writeRaw(form.type, form.order, raw);
  if (row.half === null) return { kind: 'registers', registers };
  const mask = maskOf(form.order, row.half === 'high' ? 0xff00 : 0x00ff);
  return { kind: 'masked', parts: [{ register: 0, mask, value: wordAt(registers, 0) }] };
}

function refused(code: 'RANGE' | 'TYPE', text: string): Encoded & { kind: 'refused' } {
  return { kind: 'refused', code, text };
}

function isWhole(raw: number | bigint): boolean {
  return typeof raw === 'bigint' || Number.isInteger(raw);
}

function encodeText(form: ValueForm, value: Value): Encoded {
  if (typeof value !== 'string') return refused('TYPE', 'expected a string');
  const written = writeText(value, form.quantity, form.text ?? PLAIN_TEXT);
  return typeof written === 'string' ? refused('RANGE', written) : { kind: 'registers', registers: written };
}

function encodeDate(form: ValueForm, type: DateType, value: Value): Encoded {
  if (typeof value !== 'string') return refused('TYPE', 'expected a date or time as text');
  const problem = dateProblem(type, value);
  if (problem !== null) return refused('RANGE', problem);
  return { kind: 'registers', registers: writeRaw(type, form.order, value) };
}

function encodeFloat(form: ValueForm, raw: number | bigint): Encoded {
  const number = Number(raw);
  const isTooLarge = form.type === 'float32' && !Number.isFinite(Math.fround(number));
  if (!Number.isFinite(number) || isTooLarge)
    return refused('RANGE', `${number} does not fit into ${form.type}`);
  return { kind: 'registers', registers: writeRaw(form.type, form.order, number) };
}

/** The bits of a range, wherever the order puts them among the registers. */
function encodeBits(
  form: ValueForm,
  { first, last }: NonNullable<ValueForm['bits']>,
  raw: number | bigint,
): Encoded {
  const most = (1n << BigInt(last - first + 1)) - 1n;
  if (!isWhole(raw)) return refused('RANGE', `${raw} is not a whole number`);
  const part = BigInt(raw);
  if (part < 0n || part > most) return refused('RANGE', `${raw} does not fit into bits ${first} to ${last}`);
  return { kind: 'masked', parts: maskedParts(form, most << BigInt(first), part << BigInt(first)) };
}

/** Flags by their names: bits that have none may be somebody else's, and stay as they are. */
function encodeFlags(form: ValueForm, flags: NonNullable<ValueForm['flags']>, raw: bigint): Encoded {
  const { registers } = VALUE_TYPES[form.type];
  const named = flags.reduce((mask, { bit }) => mask | (1n << BigInt(bit)), 0n);
  const parts = maskedParts(form, named, raw);
  if (parts.length < registers || parts.some(({ mask }) => mask !== 0xffff)) return { kind: 'masked', parts };
  return { kind: 'registers', registers: writeRaw(unsignedOf(registers), form.order, raw) };
}

/** mask and bits count from the lowest bit of the value. */
function maskedParts({ type, order }: ValueForm, mask: bigint, bits: bigint): MaskedRegister[] {
  const { registers } = VALUE_TYPES[type];
  const shift = BigInt(lowestBitOf(type));
  const masks = writeRaw(unsignedOf(registers), order, mask << shift);
  const values = writeRaw(unsignedOf(registers), order, bits << shift);
  const parts: MaskedRegister[] = [];
  for (let register = 0; register < registers; register += 1) {
    const word = wordAt(masks, 2 * register);
    if (word !== 0) parts.push({ register, mask: word, value: wordAt(values, 2 * register) });
  }
  return parts;
}

function unsignedOf(registers: number): ValueType {
  return registers === 4 ? 'uint64' : registers === 2 ? 'uint32' : 'uint16';
}

function maskOf(order: WordOrder, mask: number): number {
  return wordAt(writeRaw('uint16', order, mask), 0);
}

function rawOf(
  form: ValueForm,
  value: Value,
  factor: number,
): number | bigint | (Encoded & { kind: 'refused' }) {
  if (VALUE_TYPES[form.type].kind === 'bool') {
    if (typeof value === 'boolean') return value ? 1 : 0;
    return value === 0 || value === 1 ? value : refused('TYPE', 'expected true, false, 1 or 0');
  }
  if (form.enum !== null) return enumRaw(form.enum, value);
  if (form.flags !== null && typeof value === 'string') return flagsRaw(form.flags, value);
  if (typeof value === 'boolean' || typeof value === 'string') return refused('TYPE', notANumber(value));
  if (typeof value === 'number' && !Number.isFinite(value)) return refused('RANGE', `${value} is no value`);
  return unscaled(form, value, factor);
}

function notANumber(value: boolean | string): string {
  const isComma = typeof value === 'string' && /^[-+]?\d+,\d+$/.test(value);
  return isComma ? 'expected a number, with a point before its decimals' : 'expected a number';
}

function enumRaw(
  names: NonNullable<ValueForm['enum']>,
  value: Value,
): number | (Encoded & { kind: 'refused' }) {
  const row = names.find(({ raw, text }) => text === value || raw === value);
  return row?.raw ?? refused('RANGE', `expected one of ${names.map(({ text }) => text).join(', ')}`);
}

function flagsRaw(
  flags: NonNullable<ValueForm['flags']>,
  value: string,
): bigint | (Encoded & { kind: 'refused' }) {
  let raw = 0n;
  for (const name of value === '' ? [] : value.split(',')) {
    const flag = flags.find(({ text }) => text === name.trim());
    if (flag === undefined)
      return refused('RANGE', `expected some of ${flags.map(({ text }) => text).join(', ')}`);
    raw |= 1n << BigInt(flag.bit);
  }
  return raw;
}

function notReached(value: number | bigint, offset: number, step: number): string {
  return `${value} is not ${offset === 0 ? '' : `${offset} plus `}a multiple of ${step}`;
}

/** What the register cannot hold is refused, not rounded in silence: 21.44 with a scale of 0.1 is 214.4. */
function unscaled(
  form: ValueForm,
  value: number | bigint,
  factor: number,
): number | bigint | (Encoded & { kind: 'refused' }) {
  const { scale, offset } = form;
  if (scale === 1 && offset === 0 && factor === 1) return value;
  if (VALUE_TYPES[form.type].kind === 'float') return (Number(value) - offset) / (scale * factor);
  const steps = stepsTo(value, offset, scale, factor);
  if (steps === null) return refused('RANGE', notReached(value, offset, clean(scale * factor)));
  return narrow(steps);
}
