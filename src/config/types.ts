/** The value types that a tag may name, and how many registers each takes. */
import type { ValueType } from '../modbus/values.js';

export const TYPE_REGISTERS: Readonly<Record<ValueType, number>> = {
  bool: 1,
  int16: 1,
  uint16: 1,
  int32: 2,
  uint32: 2,
  int64: 4,
  uint64: 4,
  float32: 2,
  float64: 4,
  string: 0,
};

export const VALUE_TYPES = Object.keys(TYPE_REGISTERS) as ValueType[]; // the keys of that very table
