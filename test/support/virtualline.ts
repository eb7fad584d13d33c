/**
 * A serial line in virtual time: bytes take their character time, units think, want silence before a frame, and
 * misbehave as told. Each answer carries numbers of its own, so that an answer taken for another's is seen.
 */
import { crc16 } from '../../src/modbus/checksum.js';
import type { Line } from '../../src/modbus/line.js';
import type { TransportHost } from '../../src/modbus/wire.js';
import type { ManualClock } from './clock.js';

export const FAULTS = [
  'late',
  'silent',
  'duplicate',
  'truncated',
  'overlong',
  'long-count',
  'short-count',
  'crc',
  'foreign-unit',
  'foreign-function',
  'garbage-before',
  'exception',
  'split',
  'noise',
] as const;
export type Fault = (typeof FAULTS)[number];

export interface LinePhysics {
  readonly characterMs: number;
  readonly silenceMs: number;
  readonly turnaroundMs: number;
  /** The request comes back before its answer. */
  readonly isEchoing?: () => boolean;
  /** How long after the moment at which a right answer would begin a late one begins. */
  readonly lateByMs: () => number;
  /** How many bytes arrive at once. */
  readonly pieceBytes: () => number;
  readonly random: () => number;
}

export class VirtualLine implements TransportHost {
  readonly frame = null;
  readonly discardedReasons = new Map<string, number>();
  /** What each request was answered with, by its number: the answer that is its own. */
  readonly answers = new Map<number, Uint8Array>();
  violationCount = 0;
  requestCount = 0;
  faultCount = 0;
  /** Which fault the next answer has, null: none. */
  nextFault: () => Fault | null = () => null;
  line: Line | null = null;
  readonly #clock: ManualClock;
  readonly #physics: LinePhysics;
  #quietSinceMs = -1000;

  constructor(clock: ManualClock, physics: LinePhysics) {
    this.#clock = clock;
    this.#physics = physics;
  }

  fault(): void {
    throw new Error('a line has no stream to be out of step');
  }

  isOneAtATime(): void {}

  discarded(reason: string, bytes: number): void {
    this.discardedReasons.set(reason, (this.discardedReasons.get(reason) ?? 0) + bytes);
  }

  write(bytes: Uint8Array): void {
    const { characterMs, silenceMs, turnaroundMs, isEchoing } = this.#physics;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#quietSinceMs < silenceMs - 1e-6) this.violationCount += 1;
    this.requestCount += 1;
    const request = Uint8Array.from(bytes);
    const endMs = nowMs + request.length * characterMs;
    this.#quietSinceMs = endMs;
    if (isEchoing?.() === true) this.#deliver(request, nowMs);
    this.#clock.after(endMs - nowMs, () => this.#answer(request, endMs + silenceMs + turnaroundMs));
  }

  /** Writes are answered as the norm says, a read of registers with numbers that no other answer has. */
  #answer(request: Uint8Array, atMs: number): void {
    const [unitId = 0, functionCode = 0] = request;
    const quantity = ((request[4] ?? 0) << 8) | (request[5] ?? 0);
    const data = new Uint8Array(2 * quantity);
    for (let index = 0; index < data.length; index += 1) data[index] = this.#byte();
    // The last request's number; the first two bytes make equal random data unlikely enough.
    this.answers.set(this.requestCount, data);
    const right = confirmed(request) ?? adu(unitId, [functionCode, data.length, ...data]);
    const fault = this.nextFault();
    if (fault !== null) this.faultCount += 1;
    for (const { bytes, afterMs } of this.#spoil(fault, right, unitId, functionCode, data)) {
      this.#deliver(bytes, atMs + afterMs);
    }
  }

  #spoil(
    fault: Fault | null,
    right: Uint8Array,
    unitId: number,
    functionCode: number,
    data: Uint8Array,
  ): readonly { bytes: Uint8Array; afterMs: number }[] {
    const { random, lateByMs, characterMs } = this.#physics;
    const at = (bytes: Uint8Array, afterMs = 0) => ({ bytes, afterMs });
    const junk = (count: number) => Uint8Array.from({ length: count }, () => this.#byte());
    const cut = 1 + Math.floor(random() * (right.length - 1));
    switch (fault) {
      case null:
        return [at(right)];
      case 'late':
        return [at(right, lateByMs())];
      case 'silent':
        return [];
      case 'duplicate':
        return [at(right), at(right, right.length * characterMs + random())];
      case 'truncated':
        return [at(right.subarray(0, cut))];
      case 'overlong':
        return [at(joined(right, junk(1 + Math.floor(random() * 20))))];
      case 'long-count':
        return [at(adu(unitId, [functionCode, data.length + 2, ...data, 0xbe, 0xef]))];
      case 'short-count':
        return [at(adu(unitId, [functionCode, data.length - 2, ...data.subarray(2)]))];
      case 'crc': {
        const broken = Uint8Array.from(right);
        const index = Math.floor(random() * broken.length);
        broken[index] = (broken[index] ?? 0) ^ (1 << Math.floor(random() * 8));
        return [at(broken)];
      }
      case 'foreign-unit':
        return [at(adu(unitId === 9 ? 8 : 9, [functionCode, data.length, ...data]))];
      case 'foreign-function':
        return [at(adu(unitId, [functionCode === 3 ? 4 : 3, data.length, ...data]))];
      case 'garbage-before':
        return [at(joined(junk(1 + Math.floor(random() * 12)), right))];
      case 'exception':
        return [at(adu(unitId, [functionCode | 0x80, 2]))];
      case 'split':
        return [at(right.subarray(0, cut)), at(right.subarray(cut), cut * characterMs + 20 * random())];
      case 'noise':
        return [at(junk(3 + Math.floor(random() * 30)))];
    }
  }

  #byte(): number {
    return Math.floor(this.#physics.random() * 256);
  }

  /** Bytes arrive in pieces, each when its last character is through. */
  #deliver(bytes: Uint8Array, startMs: number): void {
    const { characterMs, pieceBytes } = this.#physics;
    for (let from = 0; from < bytes.length;) {
      const piece = bytes.subarray(from, from + Math.max(1, pieceBytes()));
      const firstMs = startMs + (from + 1) * characterMs;
      from += piece.length;
      const lastMs = startMs + from * characterMs;
      this.#clock.after(lastMs - this.#clock.monotonicMs(), () => {
        this.#quietSinceMs = Math.max(this.#quietSinceMs, lastMs);
        this.line?.received(Uint8Array.from(piece), firstMs, this.#clock.monotonicMs());
      });
    }
  }
}

/** The answer to a write: one register is repeated, of several their place and number; null: it is no write. */
function confirmed(request: Uint8Array): Uint8Array | null {
  const [unitId = 0, functionCode = 0] = request;
  if (functionCode === 6) return request;
  return functionCode === 16 ? adu(unitId, [...request.subarray(1, 6)]) : null;
}

export function adu(unitId: number, pdu: readonly number[]): Uint8Array {
  const frame = Uint8Array.of(unitId, ...pdu, 0, 0);
  const crc = crc16(frame, 0, frame.length - 2);
  frame[frame.length - 2] = crc & 0xff;
  frame[frame.length - 1] = crc >>> 8;
  return frame;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

/** Numbers that look random and are the same in every run. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
