/** A clock moved by hand: timers fire in order of their time, and time stands still otherwise. */
import type { Cancel, Clock } from '../../src/clock.js';

interface Timer {
  dueMs: number;
  sequence: number;
  callback: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  #elapsedMs = 0;
  #sequence = 0;
  #timers: Timer[] = [];

  constructor(startMs = 1_700_000_000_000) {
    this.#nowMs = startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#elapsedMs;
  }

  after(delayMs: number, callback: () => void): Cancel {
    const timer = { dueMs: this.#elapsedMs + Math.max(0, delayMs), sequence: this.#sequence++, callback };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Moves both clocks forward, firing what falls due on the way at its own time. */
  advance(ms: number): void {
    const endMs = this.#elapsedMs + ms;
    for (let next = this.#next(endMs); next !== undefined; next = this.#next(endMs)) {
      this.#timers = this.#timers.filter((timer) => timer !== next);
      this.#move(next.dueMs - this.#elapsedMs);
      next.callback();
    }
    this.#move(endMs - this.#elapsedMs);
  }

  /** Wall time jumps; monotonic time does not. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }

  #move(ms: number): void {
    this.#elapsedMs += ms;
    this.#nowMs += ms;
  }

  #next(untilMs: number): Timer | undefined {
    return this.#timers
      .filter((timer) => timer.dueMs <= untilMs)
      .sort((a, b) => a.dueMs - b.dueMs || a.sequence - b.sequence)[0];
  }
}
