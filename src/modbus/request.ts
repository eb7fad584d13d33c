/** What can be asked of a device, and whether a request is one that may be put on the wire at all. */
import { FUNCTION, QUANTITY_MAX, isBitTable } from './protocol.js';
import type { Table } from './protocol.js';

export type Request =
  | {
      readonly kind: 'read';
      readonly unitId: number;
      readonly table: Table;
      readonly address: number;
      readonly quantity: number;
    }
  /** Function 5 or 15; function 0: 5 for one bit, 15 for more. */
  | {
      readonly kind: 'write-bits';
      readonly unitId: number;
      readonly address: number;
      readonly bits: readonly boolean[];
      readonly functionCode: 0 | 5 | 15;
    }
  /** Function 6 or 16; function 0: 6 for one register, 16 for more. Two bytes a register, most significant first. */
  | {
      readonly kind: 'write-registers';
      readonly unitId: number;
      readonly address: number;
      readonly registers: Uint8Array;
      readonly functionCode: 0 | 6 | 16;
    }
  /** Function 22: register = (register AND andMask) OR (orMask AND NOT andMask). */
  | {
      readonly kind: 'mask-write';
      readonly unitId: number;
      readonly address: number;
      readonly andMask: number;
      readonly orMask: number;
    }
  /** Function 23. */
  | {
      readonly kind: 'read-write';
      readonly unitId: number;
      readonly address: number;
      readonly quantity: number;
      readonly writeAddress: number;
      readonly registers: Uint8Array;
    }
  /** Any other function (8, 17, 43/14 ...): the PDU's data after the function code, and back. */
  | {
      readonly kind: 'raw';
      readonly unitId: number;
      readonly functionCode: number;
      readonly data: Uint8Array;
    };

/** The function code that a request is sent with. */
export function functionCodeOf(
  request: Extract<Request, { kind: 'write-bits' | 'write-registers' }>,
): number {
  if (request.functionCode !== 0) return request.functionCode;
  if (request.kind === 'write-bits')
    return request.bits.length === 1 ? FUNCTION.writeCoil : FUNCTION.writeCoils;
  return request.registers.length === 2 ? FUNCTION.writeRegister : FUNCTION.writeRegisters;
}

/** PDU data of a raw request: what fits into a frame. */
const RAW_BYTES_MAX = 252;

/** What is wrong with a request, null when nothing is: what passes is encoded without loss (Modbus 6). */
export function problemOf(request: Request): string | null {
  if (!isWithin(request.unitId, 0, 255)) return `unit ${request.unitId} is not 0 to 255`;
  switch (request.kind) {
    case 'read': {
      const most = isBitTable(request.table) ? QUANTITY_MAX.readBits : QUANTITY_MAX.readRegisters;
      return rangeProblem(request.address, request.quantity, most);
    }
    case 'write-bits': {
      const most = functionCodeOf(request) === FUNCTION.writeCoil ? 1 : QUANTITY_MAX.writeBits;
      return rangeProblem(request.address, request.bits.length, most);
    }
    case 'write-registers': {
      const most = functionCodeOf(request) === FUNCTION.writeRegister ? 1 : QUANTITY_MAX.writeRegisters;
      return rangeProblem(request.address, request.registers.length / 2, most);
    }
    case 'mask-write':
      if (!isWithin(request.andMask, 0, 0xffff)) return `mask ${request.andMask} is not 16 bits`;
      if (!isWithin(request.orMask, 0, 0xffff)) return `mask ${request.orMask} is not 16 bits`;
      return rangeProblem(request.address, 1, 1);
    case 'read-write':
      return (
        rangeProblem(request.address, request.quantity, QUANTITY_MAX.readRegisters) ??
        rangeProblem(request.writeAddress, request.registers.length / 2, QUANTITY_MAX.readWriteRegisters)
      );
    case 'raw':
      if (!isWithin(request.functionCode, 1, 127)) return `function ${request.functionCode} is not 1 to 127`;
      return request.data.length <= RAW_BYTES_MAX ? null : `${request.data.length} bytes do not fit`;
  }
}

function rangeProblem(address: number, quantity: number, most: number): string | null {
  if (!isWithin(address, 0, 0xffff)) return `address ${address} is not 0 to 65535`;
  if (!isWithin(quantity, 1, most)) return `quantity ${quantity} is not 1 to ${most}`;
  return address + quantity <= 0x10000 ? null : `${quantity} from address ${address} on are beyond 65535`;
}

function isWithin(value: number, least: number, most: number): boolean {
  return Number.isInteger(value) && value >= least && value <= most;
}
