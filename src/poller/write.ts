/**
 * One command's way to its device: encoded, sent by a function the device takes, read back where it asked for that.
 * Never repeated after it may have been carried out; whoever calls keeps the unit's other writes away meanwhile.
 */
import type { Clock } from '../clock.js';
import type { Bus, Tag } from '../config/plant.js';
import type { Answer, ModbusError, Request } from '../modbus/client.js';
import { isBitTable } from '../modbus/protocol.js';
import { encodeCommand, type Encoded } from './encode.js';
import type { ResultCode } from './parcel.js';
import type { Unit } from './unit.js';

export interface WriteOutcome {
  readonly code: ResultCode | number;
  /** The JSON value written, or the error's text. */
  readonly text: string;
  /** False: nothing went on the line. */
  readonly sent: boolean;
  /** The last exchange, which says whether the unit lives. */
  readonly answer: Answer | null;
}

type Send = (request: Request, timeoutMs: number) => Promise<Answer>;

const BUSY_PAUSE_MS = 50;
const BUSY_PAUSE_MAX_MS = 1000;

export class Writer {
  readonly #bus: Bus;
  readonly #send: Send;
  readonly #isHurried: () => boolean;

  /**
   * isHurried: further commands wait. Then the answer follows the device's own, and what it holds comes with the joined
   * read-backs at the end of the burst: a read after each write would double its time.
   */
  constructor(bus: Bus, send: Send, isHurried: () => boolean) {
    this.#bus = bus;
    this.#send = send;
    this.#isHurried = isHurried;
  }

  /** Carries out one command; deadlineMs is when it must have been sent. */
  async write(
    unit: Unit,
    tag: Tag,
    payload: Uint8Array,
    deadlineMs: number,
    clock: Clock,
    timeoutMs: number,
  ): Promise<WriteOutcome> {
    const encoded = encodeCommand(tag, payload);
    if (encoded.kind === 'refused') {
      return { code: encoded.code, text: encoded.text, sent: false, answer: null };
    }
    const job = new Job(this.#send, unit, tag, encoded, timeoutMs);
    for (let pauseMs = BUSY_PAUSE_MS; ; pauseMs = Math.min(BUSY_PAUSE_MAX_MS, 2 * pauseMs)) {
      const answer = await job.run();
      if (answer.ok) return this.#confirmed(job, answer);
      // Busy (6) means that it was not carried out: the only failure after which a write is sent again.
      const isBusy = answer.error.kind === 'exception' && answer.error.exception === 6;
      if (!isBusy || clock.monotonicMs() + pauseMs > deadlineMs) return failed(answer, answer.error);
      await new Promise<void>((resolve) => clock.after(pauseMs, resolve));
    }
  }

  async #confirmed(job: Job, answer: Answer): Promise<WriteOutcome> {
    const { json } = job.encoded;
    if (job.tag.write?.verify !== true || job.unit.device.unitId === 0 || this.#isHurried()) {
      return { code: 'OK', text: json, sent: true, answer };
    }
    const readBack = await job.readBack(this.#bus.timeoutMs);
    if (!readBack.ok) {
      const text = `written, but not read back: ${readBack.error.text}`;
      return { code: 'VERIFY', text, sent: true, answer: readBack };
    }
    if (job.isHeldBy(readBack.data)) return { code: 'OK', text: json, sent: true, answer: readBack };
    return { code: 'VERIFY', text: 'the device holds another value', sent: true, answer: readBack };
  }
}

function failed(answer: Answer, error: ModbusError): WriteOutcome {
  if (error.kind === 'exception') return { code: error.exception, text: error.text, sent: true, answer };
  if (error.kind === 'refused' || error.kind === 'closed')
    return {
      code: 'OFFLINE',
      text: `${error.text}; the write may have been carried out`,
      sent: true,
      answer,
    };
  if (error.kind === 'invalid-request') return { code: 'TYPE', text: error.text, sent: false, answer };
  return { code: 'TIMEOUT', text: `${error.text}; the write may have been carried out`, sent: true, answer };
}

type Sendable = Exclude<Encoded, { kind: 'refused' }>;

/** One write and the exchanges it takes. */
class Job {
  readonly #send: Send;
  readonly unit: Unit;
  readonly tag: Tag;
  readonly encoded: Sendable;
  readonly #timeoutMs: number;
  readonly #functions: readonly number[];

  constructor(send: Send, unit: Unit, tag: Tag, encoded: Sendable, timeoutMs: number) {
    this.#send = send;
    this.unit = unit;
    this.tag = tag;
    this.encoded = encoded;
    this.#timeoutMs = timeoutMs;
    const own = tag.write?.functions ?? [];
    this.#functions = own.length > 0 ? own : unit.device.limits.writeFunctions;
  }

  async run(): Promise<Answer> {
    const { encoded } = this;
    switch (encoded.kind) {
      case 'bits':
        return this.#request({
          kind: 'write-bits',
          ...this.#place(),
          bits: encoded.bits,
          functionCode: this.#allows(5) ? 0 : 15,
        });
      case 'registers':
        return this.#writeRegisters(encoded.registers);
      case 'masked':
        return this.#writeMasked(encoded.register, encoded.mask, encoded.value);
    }
  }

  /** Reads where it was written. */
  readBack(timeoutMs: number): Promise<Answer> {
    const { encoded } = this;
    const quantity = encoded.kind === 'registers' ? encoded.registers.length / 2 : 1;
    return this.#read(encoded.kind === 'masked' ? encoded.register : 0, quantity, timeoutMs);
  }

  /** Whether what was read back is what was written. */
  isHeldBy(data: Uint8Array): boolean {
    const { encoded } = this;
    switch (encoded.kind) {
      case 'bits':
        return ((data[0] ?? 0) & 1) === (encoded.bits[0] === true ? 1 : 0);
      case 'registers':
        return Buffer.compare(data, encoded.registers) === 0;
      case 'masked':
        return (wordOf(data) & encoded.mask) === encoded.value;
    }
  }

  /** One request where functions allow; register by register where the device only knows function 6. */
  async #writeRegisters(registers: Uint8Array): Promise<Answer> {
    const count = registers.length / 2;
    const { unitId, address } = this.#place();
    if (count === 1 || this.#allows(16)) {
      const functionCode = count > 1 || !this.#allows(6) || this.#prefers16() ? 16 : 6;
      return this.#request({ kind: 'write-registers', unitId, address, registers, functionCode });
    }
    for (let at = 0; at < count - 1; at += 1) {
      const answer = await this.#writeOne(address + at, registers.subarray(2 * at, 2 * at + 2));
      if (!answer.ok) return answer;
    }
    return this.#writeOne(address + count - 1, registers.subarray(2 * count - 2));
  }

  #writeOne(address: number, registers: Uint8Array, functionCode: 6 | 16 = 6): Promise<Answer> {
    const { unitId } = this.#place();
    return this.#request({ kind: 'write-registers', unitId, address, registers, functionCode });
  }

  /** By mask write (Modbus 6.16) where the device knows it, else by reading, changing and writing the register. */
  async #writeMasked(register: number, mask: number, value: number): Promise<Answer> {
    const { knowledge } = this.unit;
    const { unitId, address } = this.#place();
    const way = this.tag.write?.with ?? 'auto';
    const mayMask = this.#functions.length === 0 || this.#functions.includes(22);
    if (way === 'mask' || (way === 'auto' && mayMask && knowledge.maskWrite !== false)) {
      const masked = {
        kind: 'mask-write',
        unitId,
        address: address + register,
        andMask: ~mask & 0xffff,
        orMask: value,
      } as const;
      const answer = await this.#request(masked);
      if (answer.ok) knowledge.maskWrite = true;
      const isUnknown = !answer.ok && answer.error.kind === 'exception' && answer.error.exception === 1;
      if (!isUnknown || way === 'mask') return answer;
      knowledge.maskWrite = false;
    }
    const before = await this.#read(register, 1, this.#timeoutMs);
    if (!before.ok) return before;
    const word = (wordOf(before.data) & ~mask) | value;
    const registers = Uint8Array.of(word >> 8, word & 0xff);
    return this.#writeOne(address + register, registers, this.#allows(6) && !this.#prefers16() ? 6 : 16);
  }

  #read(register: number, quantity: number, timeoutMs: number): Promise<Answer> {
    const { table, address } = this.tag.write ?? this.tag;
    const { unitId } = this.unit.device;
    return this.#send({ kind: 'read', unitId, table, address: address + register, quantity }, timeoutMs);
  }

  #request(request: Request): Promise<Answer> {
    return this.#send(request, this.#timeoutMs);
  }

  #place(): { readonly unitId: number; readonly address: number } {
    return { unitId: this.unit.device.unitId, address: (this.tag.write ?? this.tag).address };
  }

  #allows(functionCode: number): boolean {
    const ofTable = isBitTable((this.tag.write ?? this.tag).table) ? [5, 15] : [6, 16];
    const named = this.#functions.filter((code) => ofTable.includes(code));
    return named.length === 0 || named.includes(functionCode);
  }

  /** The first of the functions named is the preferred one. */
  #prefers16(): boolean {
    return this.#functions.find((code) => code === 6 || code === 16) === 16;
  }
}

function wordOf(data: Uint8Array): number {
  return ((data[0] ?? 0) << 8) | (data[1] ?? 0);
}
