/** The value types that a tag may name, as the Modbus room's table has them. */
import { VALUE_TYPES as ROWS, type ValueType } from '../modbus/values.js';

export const VALUE_TYPES = Object.keys(ROWS) as ValueType[]; // the keys of that very table

/** Registers that a value takes; 0: as many as the tag says. */
export function registersOf(type: ValueType): number {
  return ROWS[type].registers;
}

export function isInteger(type: ValueType): boolean {
  return ROWS[type].kind === 'integer';
}

/** Its bits are those of a whole number in two's complement, and not those of digits or of a magnitude. */
export function isBinary(type: ValueType): boolean {
  return /^u?int/.test(type);
}

/** Bits of a value; those of half a register count from its own lowest. */
export function widthOf(type: ValueType, registers: number): number {
  return ROWS[type].half === null ? 16 * registers : 8;
}

export function isFloat(type: ValueType): boolean {
  return ROWS[type].kind === 'float';
}

/** Neither a number: no scale, no deadband, no range. */
export function isNumber(type: ValueType): boolean {
  return isInteger(type) || isFloat(type);
}

/** The raw values that an integer type can have. */
export function limitsOfType(type: ValueType): { readonly least: bigint; readonly most: bigint } {
  return ROWS[type];
}
