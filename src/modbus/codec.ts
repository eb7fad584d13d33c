/**
 * Requests <-> PDUs. Reads are most of what a gateway does and five bytes long, so they are made here; everything else
 * by modbus-serial, which sees a port that only holds on to what is written to it and is handed one
 * whole frame at a time. Nothing else of it is used, and what it lets pass was checked before (exchange.ts).
 *
 * Its contract with a port, pinned by the exact version and by tests: open(callback), isOpen, write(frame with CRC), the
 * event data (a frame with CRC), and two transaction fields that say which call a write or an answer belongs to. A
 * slot is such a number, given back after the answer, so that its table of calls stays as small as the window.
 */
import { EventEmitter } from 'node:events';
import modbusSerial from 'modbus-serial';
import { crc16 } from './checksum.js';
import { byteAt } from './bytes.js';
import { failure } from './exchange.js';
import type { ModbusError } from './exchange.js';
import { FUNCTION, READ_FUNCTION, isBitTable } from './protocol.js';
import { functionCodeOf } from './request.js';
import type { Request } from './request.js';

type Callback = (error: Error | null) => void;

/** The part of modbus-serial in use; its own types know neither the default export nor buffers as values. */
interface ModbusSerial {
  open(callback: () => void): void;
  on(event: 'error', listener: () => void): void;
  writeFC5(unitId: number, address: number, state: boolean, next: Callback): void;
  writeFC6(unitId: number, address: number, value: number, next: Callback): void;
  writeFC15(unitId: number, address: number, states: readonly boolean[], next: Callback): void;
  writeFC16(unitId: number, address: number, registers: Buffer, next: Callback): void;
  writeFC22(unitId: number, address: number, andMask: number, orMask: number, next: Callback): void;
  writeFC23(
    unitId: number,
    address: number,
    quantity: number,
    writeAddress: number,
    writeQuantity: number,
    registers: Buffer,
    next: Callback,
  ): void;
}

class HoldingPort extends EventEmitter {
  readonly isOpen = true;
  /** Written by modbus-serial's open() and read at every call. */
  _transactionIdRead = 1;
  _transactionIdWrite = 1;
  written: Buffer | null = null;

  open(callback: (error: null) => void): void {
    callback(null);
  }

  write(frame: Buffer): void {
    this.written = frame;
  }
}

export interface Encoded {
  readonly pdu: Uint8Array;
  /** To be given back with release(); 0: modbus-serial has no part in it. */
  readonly slot: number;
}

const NOTHING = new Uint8Array(0);

export class PduCodec {
  readonly #port = new HoldingPort();
  readonly #modbus: ModbusSerial;
  readonly #freeSlots: number[] = [];
  #slotCount = 0;
  #error: Error | null = null;
  #isCalled = false;

  constructor() {
    // The package's default export is the class itself; under nodenext its types describe another object.
    const ModbusRtu = modbusSerial as unknown as new (port: HoldingPort) => ModbusSerial;
    this.#modbus = new ModbusRtu(this.#port);
    this.#modbus.on('error', () => {});
    this.#modbus.open(() => {});
  }

  /** The request must have no problem (request.ts). */
  encode(request: Request): Encoded {
    if (request.kind === 'raw') {
      const pdu = new Uint8Array(1 + request.data.length);
      pdu[0] = request.functionCode;
      pdu.set(request.data, 1);
      return { pdu, slot: 0 };
    }
    if (request.kind === 'read') return { pdu: readPdu(request), slot: 0 };
    const slot = this.#freeSlots.pop() ?? (this.#slotCount += 1);
    this.#port._transactionIdWrite = slot;
    this.#port.written = null;
    this.#write(request);
    const frame = this.#port.written as Buffer | null;
    if (frame === null) throw new Error(`modbus-serial encoded nothing for ${request.kind}`);
    return { pdu: frame.subarray(1, frame.length - 2), slot };
  }

  release(slot: number): void {
    if (slot > 0) this.#freeSlots.push(slot);
  }

  /** What an answer's PDU holds: registers or bits of a read, the data of a raw answer, nothing for a write. */
  decode(
    request: Request,
    slot: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): Uint8Array | ModbusError {
    if (request.kind === 'raw') return bytes.slice(start + 1, end);
    if (request.kind === 'read') {
      const data = bytes.slice(start + 2, end);
      if (isBitTable(request.table)) clearPadding(data, request.quantity);
      return data;
    }
    const frame = withCrc(request.unitId, bytes, start, end);
    this.#port._transactionIdRead = slot;
    this.#isCalled = false;
    this.#error = null;
    this.#port.emit('data', frame);
    const error = this.#error as Error | null;
    if (error !== null || !this.#isCalled)
      return failure('mismatch', error?.message ?? 'the answer was not understood');
    if (request.kind === 'read-write') return frame.subarray(3, frame.length - 2);
    return NOTHING;
  }

  readonly #next: Callback = (error) => {
    this.#isCalled = true;
    this.#error = error;
  };

  #write(request: Exclude<Request, { kind: 'raw' | 'read' }>): void {
    const modbus = this.#modbus;
    const { unitId, address } = request;
    switch (request.kind) {
      case 'write-bits':
        if (functionCodeOf(request) === FUNCTION.writeCoil) {
          return modbus.writeFC5(unitId, address, request.bits[0] === true, this.#next);
        }
        return modbus.writeFC15(unitId, address, request.bits, this.#next);
      case 'write-registers': {
        const registers = bufferOf(request.registers);
        if (functionCodeOf(request) === FUNCTION.writeRegister) {
          return modbus.writeFC6(unitId, address, registers.readUInt16BE(0), this.#next);
        }
        return modbus.writeFC16(unitId, address, registers, this.#next);
      }
      case 'mask-write':
        return modbus.writeFC22(unitId, address, request.andMask, request.orMask, this.#next);
      case 'read-write': {
        const registers = bufferOf(request.registers);
        const quantity = registers.length / 2;
        const { writeAddress } = request;
        return modbus.writeFC23(
          unitId,
          address,
          request.quantity,
          writeAddress,
          quantity,
          registers,
          this.#next,
        );
      }
    }
  }
}

/** Function code, address and quantity (Modbus 6.1 to 6.4). */
function readPdu({ table, address, quantity }: Extract<Request, { kind: 'read' }>): Uint8Array {
  const pdu = new Uint8Array(5);
  pdu[0] = READ_FUNCTION[table];
  pdu[1] = address >>> 8;
  pdu[2] = address;
  pdu[3] = quantity >>> 8;
  pdu[4] = quantity;
  return pdu;
}

function withCrc(unitId: number, bytes: Uint8Array, start: number, end: number): Buffer {
  const length = 1 + end - start;
  const frame = Buffer.allocUnsafe(length + 2);
  frame[0] = unitId;
  frame.set(bytes.subarray(start, end), 1);
  frame.writeUInt16LE(crc16(frame, 0, length), length);
  return frame;
}

/** Answers are padded to whole bytes, and what the padding holds is nobody's bit. */
function clearPadding(data: Uint8Array, quantity: number): void {
  const used = quantity % 8;
  if (used !== 0 && data.length > 0)
    data[data.length - 1] = byteAt(data, data.length - 1) & ((1 << used) - 1);
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
