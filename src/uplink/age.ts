/**
 * How old what waits is, on machines whose clock is set late, or wrongly for a while: a jump of the wall clock makes
 * nothing older, and what was stamped before the clock was ever set has no age.
 */
import { type Clock, CLOCK_SET_AFTER_MS } from '../clock.js';

export class Age {
  readonly #clock: Clock;
  #wallMs: number;
  #monotonicMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#wallMs = clock.nowMs();
    this.#monotonicMs = clock.monotonicMs();
  }

  /** Whether what was stamped with this wall time is older than so many milliseconds; 0: nothing ever is. */
  isOlder(stampMs: number, maxMs: number): boolean {
    if (maxMs === 0 || stampMs < CLOCK_SET_AFTER_MS) return false;
    return this.#nowMs() - stampMs > maxMs;
  }

  /** Wall time at the start and what has passed since; begun anew once the clock is set for the first time. */
  #nowMs(): number {
    const nowMs = this.#clock.nowMs();
    const monotonicMs = this.#clock.monotonicMs();
    if (this.#wallMs < CLOCK_SET_AFTER_MS && nowMs >= CLOCK_SET_AFTER_MS) {
      this.#wallMs = nowMs;
      this.#monotonicMs = monotonicMs;
    }
    return this.#wallMs + monotonicMs - this.#monotonicMs;
  }
}
