/** The value types that a tag may name, and how many registers each takes. */
import { VALUE_TYPES as ROWS } from '../modbus/values.js';
import type { ValueType } from '../modbus/values.js';

export const VALUE_TYPES = Object.keys(ROWS) as ValueType[]; // the keys of that very table

export const TYPE_REGISTERS = Object.fromEntries(
  VALUE_TYPES.map((type) => [type, ROWS[type].registers]),
) as Readonly<Record<ValueType, number>>; // one entry for each of them
