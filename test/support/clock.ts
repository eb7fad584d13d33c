/** A clock moved by hand: timers fire in order of their time, and time stands still otherwise. */
import type { Cancel, Clock } from '../../src/clock.js';

interface Timer {
  readonly dueMs: number;
  readonly sequence: number;
  /** null once it was cancelled. */
  callback: (() => void) | null;
}

export class ManualClock implements Clock {
  #nowMs: number;
  #elapsedMs = 0;
  #sequence = 0;
  /** A binary heap by time, then by order of asking. */
  readonly #timers: Timer[] = [];

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
    const timer: Timer = {
      dueMs: this.#elapsedMs + Math.max(0, delayMs),
      sequence: this.#sequence++,
      callback,
    };
    this.#push(timer);
    return () => {
      timer.callback = null;
    };
  }

  /** Moves both clocks forward, firing what falls due on the way at its own time. */
  advance(ms: number): void {
    const endMs = this.#elapsedMs + ms;
    while (this.#fireNext(endMs)) continue;
    this.#move(endMs - this.#elapsedMs);
  }

  /** The same, letting promises settle after every timer, for code that waits for answers. */
  async run(ms: number): Promise<void> {
    const endMs = this.#elapsedMs + ms;
    await settle();
    while (this.#fireNext(endMs)) await settle();
    this.#move(endMs - this.#elapsedMs);
    await settle();
  }

  /** Wall time jumps; monotonic time does not. */
  jump(ms: number): void {
    this.#nowMs += ms;
  }

  #fireNext(untilMs: number): boolean {
    const next = this.#timers[0];
    if (next === undefined || next.dueMs > untilMs) return false;
    this.#pop();
    if (next.callback === null) return true;
    this.#move(next.dueMs - this.#elapsedMs);
    next.callback();
    return true;
  }

  #move(ms: number): void {
    this.#elapsedMs += ms;
    this.#nowMs += ms;
  }

  #push(timer: Timer): void {
    const timers = this.#timers;
    let at = timers.length;
    timers.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (isBefore(timers[parent], timer)) break;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #pop(): void {
    const timers = this.#timers;
    this.#swap(0, timers.length - 1);
    timers.pop();
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      if (left >= timers.length) return;
      const least = isBefore(timers[left + 1], timers[left]) ? left + 1 : left;
      if (isBefore(timers[at], timers[least])) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    const timers = this.#timers;
    const [x, y] = [timers[a], timers[b]];
    if (x === undefined || y === undefined) return;
    timers[a] = y;
    timers[b] = x;
  }
}

function isBefore(a: Timer | undefined, b: Timer | undefined): boolean {
  if (a === undefined || b === undefined) return a !== undefined;
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.sequence < b.sequence);
}

/** Lets every promise that can settle now do so. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
