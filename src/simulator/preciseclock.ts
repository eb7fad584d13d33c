/**
 * Time for line physics: Node's timers count whole milliseconds and come late, a character at 115200 baud takes
 * 87 microseconds. Sleeps while a deadline is far and turns on the spot when it is near, letting input through
 * between the turns. It costs a core while the line is busy, so it belongs into a process of its own.
 */
import type { Cancel, Clock } from '../clock.js';

/** How much of a wait is not left to the system's timers. */
const NEAR_MS = 2.2;

interface Timer {
  readonly dueMs: number;
  readonly callback: () => void;
}

export class PreciseClock implements Clock {
  /** Latest first, so that the next one is popped. */
  readonly #timers: Timer[] = [];
  #sleep: NodeJS.Timeout | null = null;
  #sleepUntilMs = Infinity;
  #turn: NodeJS.Immediate | null = null;

  nowMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(delayMs: number, callback: () => void): Cancel {
    const timer: Timer = { dueMs: performance.now() + Math.max(0, delayMs), callback };
    let index = this.#timers.length;
    while (index > 0 && (this.#timers[index - 1]?.dueMs ?? 0) <= timer.dueMs) index--;
    this.#timers.splice(index, 0, timer);
    this.#arm();
    return () => {
      const at = this.#timers.indexOf(timer);
      if (at >= 0) this.#timers.splice(at, 1);
    };
  }

  #arm(): void {
    const next = this.#timers.at(-1);
    if (next === undefined || this.#turn !== null) return;
    const leftMs = next.dueMs - performance.now();
    if (leftMs <= NEAR_MS) {
      this.#turn = setImmediate(() => this.#tick());
    } else if (this.#sleep === null || next.dueMs < this.#sleepUntilMs) {
      if (this.#sleep !== null) clearTimeout(this.#sleep);
      this.#sleepUntilMs = next.dueMs;
      this.#sleep = setTimeout(
        () => {
          this.#sleep = null;
          this.#sleepUntilMs = Infinity;
          this.#arm();
        },
        Math.floor(leftMs - NEAR_MS),
      );
    }
  }

  #tick(): void {
    this.#turn = null;
    for (;;) {
      const next = this.#timers.at(-1);
      if (next === undefined || next.dueMs > performance.now()) break;
      this.#timers.pop();
      next.callback();
    }
    this.#arm();
  }
}
