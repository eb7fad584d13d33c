/**
 * The answering side of the application protocol (V1.1b3), strict: a request PDU becomes a Request or the exception
 * that the specification asks for, and an answer becomes a PDU. What holds the registers is a Bank. Framing is in
 * serverframes.ts; sockets and lines belong to whoever serves.
 */
import type { Request } from './client.js';
import { FUNCTION, QUANTITY_MAX, type Table } from './protocol.js';

export type ExceptionCode = number;

/** What holds the data: answers with a read's bytes (none for a write), or with an exception code. */
export interface Bank {
  answer(request: Request): Uint8Array | ExceptionCode;
}

export const EXCEPTION = {
  illegalFunction: 1,
  illegalDataAddress: 2,
  illegalDataValue: 3,
  deviceFailure: 4,
  acknowledge: 5,
  busy: 6,
  pathUnavailable: 10,
  targetFailedToRespond: 11,
} as const;

/** Registers that function 23 may write (6.17). */
const READ_WRITE_MAX = 121;

const READ_TABLE: Readonly<Record<number, Table>> = {
  [FUNCTION.readCoils]: 'coil',
  [FUNCTION.readDiscreteInputs]: 'discrete-input',
  [FUNCTION.readHoldingRegisters]: 'holding-register',
  [FUNCTION.readInputRegisters]: 'input-register',
};

/** Carries one request out and returns the answer's PDU. */
export function answerPdu(bank: Bank, unitId: number, pdu: Uint8Array): Uint8Array {
  const functionCode = pdu[0] ?? 0;
  const request = decodeRequest(unitId, pdu);
  if (typeof request === 'number') return exceptionPdu(functionCode, request);
  const answer = bank.answer(request);
  return typeof answer === 'number'
    ? exceptionPdu(functionCode, answer)
    : answerPduOf(request, functionCode, answer);
}

export function exceptionPdu(functionCode: number, exception: ExceptionCode): Uint8Array {
  return Uint8Array.of((functionCode | 0x80) & 0xff, exception);
}

/** The request that a PDU carries, or the exception that answers it; the order of the checks is the specification's. */
export function decodeRequest(unitId: number, pdu: Uint8Array): Request | ExceptionCode {
  const view = new DataView(pdu.buffer, pdu.byteOffset, pdu.byteLength);
  switch (pdu[0]) {
    case FUNCTION.readCoils:
    case FUNCTION.readDiscreteInputs:
      return decodeRead(unitId, view, QUANTITY_MAX.readBits);
    case FUNCTION.readHoldingRegisters:
    case FUNCTION.readInputRegisters:
      return decodeRead(unitId, view, QUANTITY_MAX.readRegisters);
    case FUNCTION.writeCoil:
      return decodeWriteCoil(unitId, view);
    case FUNCTION.writeRegister:
      return decodeWriteRegister(unitId, pdu);
    case FUNCTION.writeCoils:
      return decodeWriteCoils(unitId, view);
    case FUNCTION.writeRegisters:
      return decodeWriteRegisters(unitId, pdu);
    case FUNCTION.maskWriteRegister:
      return decodeMaskWrite(unitId, view);
    case FUNCTION.readWriteRegisters:
      return decodeReadWrite(unitId, pdu);
    case FUNCTION.diagnostics:
    case FUNCTION.reportServerId:
    case FUNCTION.encapsulatedInterface:
      return { kind: 'raw', unitId, functionCode: pdu[0], data: pdu.slice(1) };
    default:
      return EXCEPTION.illegalFunction;
  }
}

/** The answer's PDU; functionCode is the one that was asked with. */
export function answerPduOf(request: Request, functionCode: number, data: Uint8Array): Uint8Array {
  switch (request.kind) {
    case 'read':
    case 'read-write':
      return Uint8Array.of(functionCode, data.length, ...data);
    case 'raw':
      return Uint8Array.of(functionCode, ...data);
    case 'write-bits':
      return functionCode === FUNCTION.writeCoil
        ? words(functionCode, request.address, request.bits[0] === true ? 0xff00 : 0)
        : words(functionCode, request.address, request.bits.length);
    case 'write-registers':
      return functionCode === FUNCTION.writeRegister
        ? Uint8Array.of(
            functionCode,
            request.address >> 8,
            request.address & 0xff,
            ...request.registers.subarray(0, 2),
          )
        : words(functionCode, request.address, request.registers.length / 2);
    case 'mask-write':
      return words(functionCode, request.address, request.andMask, request.orMask);
  }
}

function decodeRead(unitId: number, view: DataView, quantityMax: number): Request | ExceptionCode {
  if (view.byteLength !== 5) return EXCEPTION.illegalDataValue;
  const [address, quantity] = [view.getUint16(1), view.getUint16(3)];
  if (quantity < 1 || quantity > quantityMax) return EXCEPTION.illegalDataValue;
  if (address + quantity > 65536) return EXCEPTION.illegalDataAddress;
  const table = READ_TABLE[view.getUint8(0)];
  return table === undefined ? EXCEPTION.illegalFunction : { kind: 'read', unitId, table, address, quantity };
}

function decodeWriteCoil(unitId: number, view: DataView): Request | ExceptionCode {
  if (view.byteLength !== 5) return EXCEPTION.illegalDataValue;
  const value = view.getUint16(3);
  if (value !== 0 && value !== 0xff00) return EXCEPTION.illegalDataValue;
  const bits = [value === 0xff00];
  return { kind: 'write-bits', unitId, address: view.getUint16(1), bits, functionCode: 5 };
}

function decodeWriteRegister(unitId: number, pdu: Uint8Array): Request | ExceptionCode {
  if (pdu.length !== 5) return EXCEPTION.illegalDataValue;
  const address = ((pdu[1] ?? 0) << 8) | (pdu[2] ?? 0);
  return { kind: 'write-registers', unitId, address, registers: pdu.slice(3, 5), functionCode: 6 };
}

function decodeWriteCoils(unitId: number, view: DataView): Request | ExceptionCode {
  if (view.byteLength < 7) return EXCEPTION.illegalDataValue;
  const [address, quantity, byteCount] = [view.getUint16(1), view.getUint16(3), view.getUint8(5)];
  const isRight =
    quantity >= 1 &&
    quantity <= QUANTITY_MAX.writeBits &&
    byteCount === Math.ceil(quantity / 8) &&
    view.byteLength === 6 + byteCount;
  if (!isRight) return EXCEPTION.illegalDataValue;
  if (address + quantity > 65536) return EXCEPTION.illegalDataAddress;
  const bits = Array.from(
    { length: quantity },
    (_, index) => ((view.getUint8(6 + (index >> 3)) >> (index & 7)) & 1) === 1,
  );
  return { kind: 'write-bits', unitId, address, bits, functionCode: 15 };
}

function decodeWriteRegisters(unitId: number, pdu: Uint8Array): Request | ExceptionCode {
  if (pdu.length < 8) return EXCEPTION.illegalDataValue;
  const view = new DataView(pdu.buffer, pdu.byteOffset, pdu.byteLength);
  const [address, quantity, byteCount] = [view.getUint16(1), view.getUint16(3), view.getUint8(5)];
  const isRight =
    quantity >= 1 &&
    quantity <= QUANTITY_MAX.writeRegisters &&
    byteCount === quantity * 2 &&
    pdu.length === 6 + byteCount;
  if (!isRight) return EXCEPTION.illegalDataValue;
  if (address + quantity > 65536) return EXCEPTION.illegalDataAddress;
  return { kind: 'write-registers', unitId, address, registers: pdu.slice(6), functionCode: 16 };
}

function decodeMaskWrite(unitId: number, view: DataView): Request | ExceptionCode {
  if (view.byteLength !== 7) return EXCEPTION.illegalDataValue;
  return {
    kind: 'mask-write',
    unitId,
    address: view.getUint16(1),
    andMask: view.getUint16(3),
    orMask: view.getUint16(5),
  };
}

function decodeReadWrite(unitId: number, pdu: Uint8Array): Request | ExceptionCode {
  if (pdu.length < 12) return EXCEPTION.illegalDataValue;
  const view = new DataView(pdu.buffer, pdu.byteOffset, pdu.byteLength);
  const [address, quantity] = [view.getUint16(1), view.getUint16(3)];
  const [writeAddress, writeQuantity, byteCount] = [view.getUint16(5), view.getUint16(7), view.getUint8(9)];
  const isRight =
    quantity >= 1 &&
    quantity <= QUANTITY_MAX.readRegisters &&
    writeQuantity >= 1 &&
    writeQuantity <= READ_WRITE_MAX &&
    byteCount === writeQuantity * 2 &&
    pdu.length === 10 + byteCount;
  if (!isRight) return EXCEPTION.illegalDataValue;
  if (address + quantity > 65536 || writeAddress + writeQuantity > 65536) return EXCEPTION.illegalDataAddress;
  return { kind: 'read-write', unitId, address, quantity, writeAddress, registers: pdu.slice(10) };
}

function words(functionCode: number, ...values: number[]): Uint8Array {
  const pdu = new Uint8Array(1 + values.length * 2);
  pdu[0] = functionCode;
  values.forEach((value, index) => {
    pdu[1 + index * 2] = value >> 8;
    pdu[2 + index * 2] = value & 0xff;
  });
  return pdu;
}
