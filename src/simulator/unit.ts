/**
 * One simulated unit: its tables, what moves in them, its limits and its manners. Written registers hold what was
 * written: a script ends where a master writes. Everything not named reads as zero.
 */
import type { Clock } from '../clock.js';
import type { Request } from '../modbus/client.js';
import { FUNCTION, isBitTable, READ_FUNCTION, type Table } from '../modbus/protocol.js';
import { EXCEPTION, type Bank, type ExceptionCode } from '../modbus/server.js';
import { identification } from './identification.js';
import { Memory } from './memory.js';
import { Oddities } from './oddities.js';
import { Random } from './random.js';
import { Scripts } from './scripts.js';
import type { FaultSpec, RangeSpec, UnitSpec } from './spec.js';

const IDENTITY = ['holdfast', 'simulated unit', '1.0'];

export class Unit implements Bank {
  readonly unitId: number;
  readonly random: Random;
  faults: readonly FaultSpec[];
  spec: UnitSpec;
  readonly #memory = new Memory();
  readonly #scripts: Scripts;
  readonly #oddities: Oddities;
  readonly #clock: Clock;

  constructor(spec: UnitSpec, seed: number, clock: Clock) {
    this.spec = spec;
    this.unitId = spec.unitId;
    this.faults = spec.faults ?? [];
    this.random = new Random(seed);
    this.#clock = clock;
    this.#scripts = new Scripts(spec.unitId, spec.values ?? [], this.#memory);
    this.#oddities = new Oddities(spec, this.#memory);
  }

  answer(request: Request): Uint8Array | ExceptionCode {
    switch (request.kind) {
      case 'read': {
        if (!this.#knows(READ_FUNCTION[request.table])) return EXCEPTION.illegalFunction;
        if (this.spec.bitsFromZero === true && isBitTable(request.table) && request.address !== 0)
          return EXCEPTION.illegalDataAddress;
        const limit = this.#limited(request.table, request.quantity);
        return limit !== 0 ? limit : this.#read(request.table, request.address, request.quantity);
      }
      case 'write-bits':
        return this.#knows(request.functionCode)
          ? this.#write('coil', request.address, request.bits.length, packed(request.bits))
          : EXCEPTION.illegalFunction;
      case 'write-registers':
        if (!this.#knows(request.functionCode)) return EXCEPTION.illegalFunction;
        return this.#write(
          'holding-register',
          request.address,
          request.registers.length / 2,
          request.registers,
        );
      case 'mask-write':
        return this.#knows(22)
          ? this.#maskWrite(request.address, request.andMask, request.orMask)
          : EXCEPTION.illegalFunction;
      case 'read-write': {
        if (!this.#knows(23)) return EXCEPTION.illegalFunction;
        // The write comes first (6.17), and nothing is written when the read is refused.
        if (!this.#isLegal('holding-register', request.address, request.quantity))
          return EXCEPTION.illegalDataAddress;
        const quantity = request.registers.length / 2;
        const written = this.#write('holding-register', request.writeAddress, quantity, request.registers);
        return typeof written === 'number'
          ? written
          : this.#read('holding-register', request.address, request.quantity);
      }
      case 'raw':
        return this.#knows(request.functionCode) ? this.#raw(request) : EXCEPTION.illegalFunction;
    }
  }

  /** What a read would show now, whatever limits and holes say. */
  peek(table: Table, address: number, quantity: number): Uint8Array {
    this.#oddities.review(this.#clock.monotonicMs());
    const bytes = this.#memory.read(table, address, quantity);
    this.#scripts.overlay(bytes, table, address, quantity, this.#clock.nowMs());
    return bytes;
  }

  /** Sets values from outside, as the plant's own doing. */
  poke(table: Table, address: number, quantity: number, bytes: Uint8Array): void {
    this.#scripts.end(table, address, quantity, this.#clock.nowMs());
    this.#memory.write(table, address, quantity, bytes);
  }

  #knows(functionCode: number): boolean {
    return this.spec.functions?.includes(functionCode) ?? true;
  }

  #limited(table: Table, quantity: number): ExceptionCode {
    const { registersMax = 125, registersMin = 1, bitsMax = 2000, limitException = 3 } = this.spec;
    const isWithin = isBitTable(table)
      ? quantity <= bitsMax
      : quantity <= registersMax && quantity >= registersMin;
    return isWithin ? 0 : limitException;
  }

  #isLegal(table: Table, address: number, quantity: number): boolean {
    const { holes, only } = this.spec;
    const meets = (range: RangeSpec): boolean =>
      range.table === table && range.address < address + quantity && address < range.address + range.quantity;
    if (holes?.some(meets) === true) return false;
    if (only === undefined) return true;
    let at = address;
    while (at < address + quantity) {
      const range = only.find(
        (one) => one.table === table && one.address <= at && at < one.address + one.quantity,
      );
      if (range === undefined) return false;
      at = range.address + range.quantity;
    }
    return true;
  }

  #read(table: Table, address: number, quantity: number): Uint8Array | ExceptionCode {
    return this.#isLegal(table, address, quantity)
      ? this.peek(table, address, quantity)
      : EXCEPTION.illegalDataAddress;
  }

  #write(table: Table, address: number, quantity: number, bytes: Uint8Array): Uint8Array | ExceptionCode {
    const isReadOnly = this.spec.readOnly?.some(
      (range) =>
        range.table === table &&
        range.address < address + quantity &&
        address < range.address + range.quantity,
    );
    if (isReadOnly === true || !this.#isLegal(table, address, quantity)) return EXCEPTION.illegalDataAddress;
    const isHolding = table === 'holding-register';
    const refusal = isHolding ? this.#oddities.refusal({ address, quantity }) : 0;
    if (refusal !== 0) return refusal;
    this.poke(table, address, quantity, bytes);
    if (isHolding) this.#oddities.written({ address, quantity }, this.#clock.monotonicMs());
    return new Uint8Array(0);
  }

  #maskWrite(address: number, andMask: number, orMask: number): Uint8Array | ExceptionCode {
    const now = this.#read('holding-register', address, 1);
    if (typeof now === 'number') return now;
    const value = ((now[0] ?? 0) << 8) | (now[1] ?? 0);
    const masked = (value & andMask) | (orMask & ~andMask & 0xffff);
    return this.#write('holding-register', address, 1, Uint8Array.of(masked >> 8, masked & 0xff));
  }

  #raw(request: Extract<Request, { kind: 'raw' }>): Uint8Array | ExceptionCode {
    const { functionCode, data } = request;
    const identity = this.spec.identity ?? IDENTITY;
    if (functionCode === FUNCTION.encapsulatedInterface) return identification(identity, data);
    if (functionCode === FUNCTION.reportServerId) {
      if (data.length !== 0) return EXCEPTION.illegalDataValue;
      const id = Buffer.from(identity[1] ?? '', 'latin1');
      return Uint8Array.of(id.length + 1, ...id, 0xff);
    }
    // Function 8, sub-function 0 returns what was sent (6.8).
    if (data.length < 2 || (data[0] ?? 0) !== 0 || (data[1] ?? 0) !== 0) return EXCEPTION.illegalFunction;
    return data;
  }
}

function packed(bits: readonly boolean[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, index) => {
    if (bit) bytes[index >> 3] = (bytes[index >> 3] ?? 0) | (1 << (index & 7));
  });
  return bytes;
}
