/** The system's clock with time added by hand: timers run as ever, and what looks at the clock sees that time has passed. */
import { type Clock, systemClock } from '../../src/clock.js';

export class ShiftedClock implements Clock {
  #passedMs = 0;
  #jumpedMs: number;

  /** Wall time at the start; the system's unless given. */
  constructor(startMs = Date.now()) {
    this.#jumpedMs = startMs - Date.now();
  }

  nowMs(): number {
    return systemClock.nowMs() + this.#passedMs + this.#jumpedMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs() + this.#passedMs;
  }

  after(delayMs: number, callback: () => void): () => void {
    return systemClock.after(delayMs, callback);
  }

  /** So much time has passed. */
  pass(ms: number): void {
    this.#passedMs += ms;
  }

  /** Somebody set the wall clock. */
  jump(ms: number): void {
    this.#jumpedMs += ms;
  }
}
