/**
 * Answer bytes -> the value of one tag, compiled once for each tag. Knows no quality: undefined means "not
 * available", and the caller says so.
 */
import type { Tag } from '../config/plant.js';
import { compileDecode as compileRegisters } from '../modbus/conversion.js';
import type { Decode } from '../modbus/conversion.js';
import { isBitTable } from '../modbus/protocol.js';
import type { Value } from '../modbus/values.js';

export type { Decode } from '../modbus/conversion.js';

/** In a bit table the offset counts bits, else bytes. */
export function compileDecode(tag: Tag): Decode {
  if (isBitTable(tag.table)) return (bytes, bit) => ((bytes[bit >> 3] ?? 0) & (1 << (bit & 7))) !== 0;
  return compileRegisters(tag);
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
