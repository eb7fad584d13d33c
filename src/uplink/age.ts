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
  /** Wall time at the start and what has passed since. */
  readonly #sinceStart: Clock;
  /** The same, begun anew once the clock is set for the first time. */
  #steady: Clock;
  #wasSet: boolean;
  /** What this process queues bears this sequence or a later one. */
  #firstOwn = Infinity;
  #jumps: Jump[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#sinceStart = this.#steady = steadyClock(clock);
    this.#wasSet = clock.nowMs() >= CLOCK_SET_AFTER_MS;
  }

  /** The wall time that what is queued now under this sequence bears; `oldest` is the oldest that may still be asked for. */
  stamp(sequence: number, oldest: number): number {
    if (sequence < this.#firstOwn) this.#firstOwn = sequence;
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
    return maxMs > 0 && stampMs >= CLOCK_SET_AFTER_MS && this.ageMs(sequence, stampMs) > maxMs;
  }

  /** How long ago it was queued, as far as that is known. */
  ageMs(sequence: number, stampMs: number): number {
    const steadyMs = this.#steadyMs();
    if (stampMs < CLOCK_SET_AFTER_MS)
      return sequence < this.#firstOwn ? 0 : Math.max(0, this.#sinceStart.nowMs() - stampMs);
    const jumpedMs = this.#jumps.findLast(({ first }) => first <= sequence)?.ms ?? 0;
    return Math.max(0, steadyMs - (stampMs - jumpedMs));
  }

  #steadyMs(): number {
    if (!this.#wasSet && this.#clock.nowMs() >= CLOCK_SET_AFTER_MS) {
      this.#wasSet = true;
      this.#steady = steadyClock(this.#clock);
      this.#jumps = [];
    }
    return this.#steady.nowMs();
  }
}
