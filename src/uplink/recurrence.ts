/** Of what happens again and again the log tells the first, and every hour how many there were since. */
import type { Clock } from '../clock.js';

const PERIOD_MS = 3_600_000;

export class Recurrence {
  readonly #clock: Clock;
  #untold = 0;
  #toldAtMs = -Infinity;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** So many more: how many are to be told of now; 0: none. */
  add(count: number): number {
    this.#untold += count;
    const nowMs = this.#clock.monotonicMs();
    if (this.#untold === 0 || nowMs - this.#toldAtMs < PERIOD_MS) return 0;
    const told = this.#untold;
    this.#untold = 0;
    this.#toldAtMs = nowMs;
    return told;
  }
}
