/**
 * Manners of real devices that go beyond registers: registers that are locked until a code is written, values that
 * fall back when they are not written again, windows that show one page or another. Of one unit, over its memory.
 */
import { EXCEPTION, type ExceptionCode } from '../modbus/server.js';
import type { Memory } from './memory.js';
import type { PageSpec, RangeSpec, UnitSpec } from './spec.js';

type Span = Omit<RangeSpec, 'table'>;

export class Oddities {
  readonly #spec: UnitSpec;
  readonly #memory: Memory;
  readonly #unlocked = new Set<number>();
  /** When each watched register was last written. */
  readonly #writtenAtMs = new Map<number, number>();

  constructor(spec: UnitSpec, memory: Memory) {
    this.#spec = spec;
    this.#memory = memory;
  }

  /** The exception that answers a write of holding registers; 0: none. */
  refusal(span: Span): ExceptionCode | 0 {
    const locked = this.#spec.locks?.some(
      ({ register, guards }) => meets(span, guards) && !this.#unlocked.has(register),
    );
    return locked === true ? EXCEPTION.deviceFailure : 0;
  }

  /** Holding registers were written, and the memory holds what. */
  written(span: Span, nowMs: number): void {
    for (const { register, code, guards } of this.#spec.locks ?? []) {
      // Each code opens for one write.
      if (meets(span, guards)) this.#unlocked.delete(register);
      if (meets(span, one(register)) && this.#word(register) === code) this.#unlocked.add(register);
    }
    for (const { register } of this.#spec.watchdogs ?? [])
      if (meets(span, one(register))) this.#writtenAtMs.set(register, nowMs);
    for (const page of this.#spec.pages ?? []) if (meets(span, one(page.register))) this.#turn(page);
  }

  /** Before holding registers are read: what nobody wrote again has fallen back. */
  review(nowMs: number): void {
    for (const { register, ms, fallback } of this.#spec.watchdogs ?? []) {
      const writtenAtMs = this.#writtenAtMs.get(register);
      if (writtenAtMs === undefined || nowMs - writtenAtMs <= ms) continue;
      this.#writtenAtMs.delete(register);
      this.#put(register, [fallback]);
    }
  }

  #turn({ register, address, values }: PageSpec): void {
    this.#put(address, values[this.#word(register)] ?? []);
  }

  #word(register: number): number {
    const [high = 0, low = 0] = this.#memory.read('holding-register', register, 1);
    return (high << 8) | low;
  }

  #put(address: number, words: readonly number[]): void {
    const bytes = Uint8Array.from(words.flatMap((word) => [word >> 8, word & 0xff]));
    this.#memory.write('holding-register', address, words.length, bytes);
  }
}

function one(register: number): Span {
  return { address: register, quantity: 1 };
}

function meets(a: Span, b: Span): boolean {
  return a.address < b.address + b.quantity && b.address < a.address + a.quantity;
}
