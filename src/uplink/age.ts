/**
 * How old what waits is, on machines whose clock is set late, or wrongly for a while: a jump of the wall clock makes
 * nothing older, and what was stamped before the clock was ever set has no age.
 */
import { type Clock, CLOCK_SET_AFTER_MS, steadyClock } from '../clock.js';

/** How far the wall clock had jumped since the start when this sequence and those behind it were stamped. */
interface Jump {
  readonly first: number;
  readonly ms: number;
}

export class Age {
  readonly #clock: Clock;
  #steady: Clock;
  #wasSet: boolean;
  #jumps: Jump[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#steady = steadyClock(clock);
    this.#wasSet = clock.nowMs() >= CLOCK_SET_AFTER_MS;
  }

  /** The wall time that what is queued now under this sequence bears; `oldest` is the oldest that may still be asked for. */
  stamp(sequence: number, oldest: number): number {
    const wallMs = this.#clock.nowMs();
    const ms = wallMs - this.#steadyMs();
    // Small corrections are followed with a rounding error.
    if (Math.abs(ms - (this.#jumps.at(-1)?.ms ?? 0)) > 1) {
      this.#jumps = this.#jumps.filter((_jump, i) => (this.#jumps[i + 1]?.first ?? Infinity) > oldest);
      this.#jumps.push({ first: sequence, ms });
    }
    return wallMs;
  }

  /** Whether what bears this stamp is older than so many milliseconds; 0: nothing ever is. */
  isOlder(sequence: number, stampMs: number, maxMs: number): boolean {
    if (maxMs === 0 || stampMs < CLOCK_SET_AFTER_MS) return false;
    const jumpedMs = this.#jumps.findLast(({ first }) => first <= sequence)?.ms ?? 0;
    return this.#steadyMs() - (stampMs - jumpedMs) > maxMs;
  }

  /** Wall time at the start and what has passed since; begun anew once the clock is set for the first time. */
  #steadyMs(): number {
    if (!this.#wasSet && this.#clock.nowMs() >= CLOCK_SET_AFTER_MS) {
      this.#wasSet = true;
      this.#steady = steadyClock(this.#clock);
      this.#jumps = [];
    }
    return this.#steady.nowMs();
  }
}
