/**
 * Registers <-> values. One row a value type: how many registers it takes and how its bytes are read and written.
 * A new type is one row here; the schema, editor completion and reference page follow.
 */

export type ValueType =
  'bool' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64' | 'float32' | 'float64' | 'string';

/** Byte order over the whole value; the 64-bit forms spell out all eight. */
export type WordOrder = 'ABCD' | 'CDAB' | 'BADC' | 'DCBA';

/** A decoded value: 64-bit integers beyond 2^53 are bigint, everything else is what JSON has. */
export type Value = number | bigint | boolean | string;
