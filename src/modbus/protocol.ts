/**
 * The words and figures of the Modbus application protocol (V1.1b3): tables, function codes, exception codes, and
 * how much one request may ask for.
 */

export type Table = 'coil' | 'discrete-input' | 'holding-register' | 'input-register';

export const FUNCTION = {
  readCoils: 1,
  readDiscreteInputs: 2,
  readHoldingRegisters: 3,
  readInputRegisters: 4,
  writeCoil: 5,
  writeRegister: 6,
  diagnostics: 8,
  writeCoils: 15,
  writeRegisters: 16,
  reportServerId: 17,
  maskWriteRegister: 22,
  readWriteRegisters: 23,
  encapsulatedInterface: 43,
} as const;

/** The function code that reads each table. */
export const READ_FUNCTION: Readonly<Record<Table, number>> = {
  coil: FUNCTION.readCoils,
  'discrete-input': FUNCTION.readDiscreteInputs,
  'holding-register': FUNCTION.readHoldingRegisters,
  'input-register': FUNCTION.readInputRegisters,
};

/** The most that one request may carry (Modbus 6.1 to 6.4, 6.11, 6.12). */
export const QUANTITY_MAX = {
  readBits: 2000,
  readRegisters: 125,
  writeBits: 1968,
  writeRegisters: 123,
  /** What function 23 may write beside its read (Modbus 6.17). */
  readWriteRegisters: 121,
} as const;

/** The longest PDU (Modbus 4.1). */
export const PDU_MAX = 253;

export const EXCEPTION_TEXT: Readonly<Record<number, string>> = {
  1: 'illegal function',
  2: 'illegal data address',
  3: 'illegal data value',
  4: 'server device failure',
  5: 'acknowledge',
  6: 'server device busy',
  7: 'negative acknowledge',
  8: 'memory parity error',
  10: 'gateway path unavailable',
  11: 'gateway target device failed to respond',
};

export function exceptionText(code: number): string {
  return EXCEPTION_TEXT[code] ?? `exception ${code}`;
}

/** A gateway speaks of the unit, not the unit itself. */
export function isGatewayException(code: number): boolean {
  return code === 10 || code === 11;
}

export function isBitTable(table: Table): boolean {
  return table === 'coil' || table === 'discrete-input';
}
