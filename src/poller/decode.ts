/**
 * Answer bytes -> the value of one tag, compiled once for each form that a value has: thousands of tags have one and the
 * same. Knows no quality: undefined means "not available", and the caller says so.
 */
import type { Tag } from '../config/plant.js';
import { compileDecode as compileRegisters, truthNamer } from '../modbus/conversion.js';
import type { Decode, ValueForm } from '../modbus/conversion.js';
import { isBitTable } from '../modbus/protocol.js';
import type { Value } from '../modbus/values.js';

export type { Decode } from '../modbus/conversion.js';

/** By the form as text; as many as the plant has different ones. */
const compiled = new Map<string, Decode>();

const decodeBit = (bytes: Uint8Array, bit: number): boolean =>
  ((bytes[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;

/** In a bit table the offset counts bits, else bytes. */
export function compileDecode(tag: Tag): Decode {
  if (isBitTable(tag.table)) return bitDecoder(tag);
  const { type, order, quantity, scale, offset, bits, flags, text, invalid } = tag;
  const form: ValueForm = {
    type,
    order,
    quantity,
    scale,
    offset,
    bits,
    enum: tag.enum,
    flags,
    text,
    invalid,
  };
  const key = JSON.stringify(form, (_, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part));
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const decode = compileRegisters(form);
  compiled.set(key, decode);
  return decode;
}

function bitDecoder({ enum: names }: Tag): Decode {
  if (names === null) return decodeBit;
  const nameOf = truthNamer(names);
  return (bytes, bit) => nameOf(decodeBit(bytes, bit));
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
