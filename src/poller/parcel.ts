/**
 * The binary parcel that crosses threads, in both directions, little-endian: samples in the buffers of a ring, commands
 * and results in transferred ones.
 * Header, 16 bytes: u8 version, u8 kind, u16 zero, u32 count, f64 base time (ms since 1970; of commands, of sharedMs()).
 * Record, 16 bytes and payload: u32 index, u8 code, u24 payload length, u32 ms since base, u32 correlation.
 * Index names whatever has a topic of its own (a tag, or a batch). The time is a sample's timestamp; for commands it
 * is when the command expires.
 */
import type { Quality, Reason } from './sample.js';

const VERSION = 1;
const HEADER_BYTES = 16;
const RECORD_BYTES = 16;
const KINDS = ['samples', 'commands', 'results'] as const;

export type ParcelKind = (typeof KINDS)[number];

/** Code of a sample: quality and reason. Code of a command: what is asked. Code of a result: how it went. */
export const SAMPLE_CODE = { good: 0, stale: 1, bad: 2, uncertain: 3 } as const;
const REASONS = [undefined, 'timeout', 'exception', 'offline', 'invalid', 'implausible', 'clock'] as const;
const QUALITIES = ['good', 'stale', 'bad', 'uncertain'] as const;

/** The lowest two bits of a sample's code are its quality, the others its reason; a good sample's code is 0. */
export function sampleCode(quality: Quality, reason?: Reason): number {
  return SAMPLE_CODE[quality] | (REASONS.indexOf(reason) << 2);
}

export function qualityOf(code: number): Quality {
  return QUALITIES[code & 3] ?? 'bad';
}

export function reasonOf(code: number): Reason | undefined {
  return REASONS[code >> 2];
}

export const COMMAND_CODE = { write: 0, read: 1 } as const;
/** `code` in an ack by result code; EXC_n is 128 + n. */
export const RESULT_CODES = [
  'OK', 'TIMEOUT', 'OFFLINE', 'RANGE', 'TYPE', 'READ_ONLY', 'UNKNOWN_TAG', 'EXPIRED', 'RETAINED', 'BUSY', 'DENIED', 'VERIFY',
] as const; // prettier-ignore
export type ResultCode = (typeof RESULT_CODES)[number];
export const RESULT_EXCEPTION_BASE = 128;

/** Fills one parcel; append() says false when it is full. */
export class ParcelWriter<Memory extends ArrayBufferLike = ArrayBuffer> {
  readonly bytes: Uint8Array;
  readonly #buffer: Memory;
  readonly #view: DataView;
  #baseMs = 0;
  #end = HEADER_BYTES;
  #count = 0;

  constructor(kind: ParcelKind, buffer: Memory, baseMs: number) {
    this.#buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#view.setUint8(0, VERSION);
    this.#view.setUint8(1, KINDS.indexOf(kind));
    this.#view.setUint16(2, 0);
    this.restart(baseMs);
  }

  /** Empty again, for a buffer that is filled many times. */
  restart(baseMs: number): void {
    this.#baseMs = baseMs;
    this.#view.setFloat64(8, baseMs, true);
    this.#end = HEADER_BYTES;
    this.#count = 0;
  }

  get count(): number {
    return this.#count;
  }

  /** False, and nothing written, when the parcel has no room for it. */
  append(index: number, code: number, timeMs: number, correlation: number, payload: Uint8Array): boolean {
    const at = this.#end;
    if (at + RECORD_BYTES + payload.length > this.bytes.length) return false;
    this.#writeHead(at, index, code, timeMs, correlation, payload.length);
    this.bytes.set(payload, at + RECORD_BYTES);
    this.#end = at + RECORD_BYTES + payload.length;
    this.#count += 1;
    return true;
  }

  /** Where the next record's payload may be written in place, up to lengthMax bytes; -1 when there is no room. */
  reserve(lengthMax: number): number {
    const at = this.#end + RECORD_BYTES;
    return at + lengthMax > this.bytes.length ? -1 : at;
  }

  /** Completes the record whose payload was written at reserve()'s place and ends before payloadEnd. */
  commit(index: number, code: number, timeMs: number, correlation: number, payloadEnd: number): void {
    const at = this.#end;
    this.#writeHead(at, index, code, timeMs, correlation, payloadEnd - at - RECORD_BYTES);
    this.#end = payloadEnd;
    this.#count += 1;
  }

  /** The finished parcel's buffer. */
  finish(): Memory {
    this.#view.setUint32(4, this.#count, true);
    return this.#buffer;
  }

  #writeHead(
    at: number,
    index: number,
    code: number,
    timeMs: number,
    correlation: number,
    length: number,
  ): void {
    const view = this.#view;
    view.setUint32(at, index, true);
    view.setUint32(at + 4, code | (length << 8), true);
    view.setUint32(at + 8, Math.min(0xffffffff, Math.max(0, timeMs - this.#baseMs)), true);
    view.setUint32(at + 12, correlation, true);
  }
}

/** The bytes that a parcel with one record of this payload needs. */
export function parcelBytes(payloadLength: number): number {
  return HEADER_BYTES + RECORD_BYTES + payloadLength;
}

/** Walks a parcel without an object a record: next() moves, the getters speak of the record under the cursor. */
export class ParcelReader {
  readonly kind: ParcelKind;
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #count = 0;
  #baseMs = 0;
  #seen = 0;
  #at = 0;
  #next = HEADER_BYTES;

  constructor(buffer: ArrayBufferLike) {
    this.#view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    const kind = KINDS[this.#view.getUint8(1)];
    if (this.#view.getUint8(0) !== VERSION || kind === undefined)
      throw new Error('not a parcel of this version');
    this.kind = kind;
    this.restart();
  }

  /** Before the first record again, of what the buffer holds now: one of the same kind. */
  restart(): void {
    this.#count = this.#view.getUint32(4, true);
    this.#baseMs = this.#view.getFloat64(8, true);
    this.#seen = 0;
    this.#at = 0;
    this.#next = HEADER_BYTES;
  }

  get count(): number {
    return this.#count;
  }

  next(): boolean {
    if (this.#seen === this.#count) return false;
    this.#seen += 1;
    this.#at = this.#next;
    this.#next = this.payloadEnd;
    return true;
  }

  get index(): number {
    return this.#view.getUint32(this.#at, true);
  }

  get code(): number {
    return this.#view.getUint8(this.#at + 4);
  }

  get timeMs(): number {
    return this.#baseMs + this.#view.getUint32(this.#at + 8, true);
  }

  get correlation(): number {
    return this.#view.getUint32(this.#at + 12, true);
  }

  get payloadStart(): number {
    return this.#at + RECORD_BYTES;
  }

  get payloadEnd(): number {
    return this.#at + RECORD_BYTES + (this.#view.getUint32(this.#at + 4, true) >>> 8);
  }

  /** A view into the parcel: copy it if it must outlive the parcel. */
  get payload(): Uint8Array {
    return this.bytes.subarray(this.payloadStart, this.payloadEnd);
  }
}
