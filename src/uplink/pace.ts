/**
 * How many messages a second the far side is sent, once it has shown that it does not take more: platforms that allow a
 * connection so many a second end it beyond that, or do not acknowledge what is too much. Without limit until then, and
 * again some time after.
 */
import type { Clock } from '../clock.js';

const SECOND_MS = 1000;
/** Of what was taken in the best second: its seconds are not ours. */
const SHARE = 0.8;
/** Every so often a little more is tried. */
const RAISE_MS = 60_000;
const RAISE_MAX_PER_S = 1000;
/** What may go at once, in seconds of the pace. */
const BURST_S = 0.25;

export class Pace {
  readonly #clock: Clock;
  #perS = Infinity;
  #raisedAtMs = 0;
  /** Messages that may go now, and when that was so. */
  #allowance = 0;
  #allowedAtMs = 0;
  /** Acknowledged within the second that began then, and in the best second of this connection. */
  #secondAtMs = -Infinity;
  #taken = 0;
  #best = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** A connection is there. */
  begin(): void {
    this.#secondAtMs = -Infinity;
    this.#taken = this.#best = 0;
  }

  /** The far side has taken one. */
  took(nowMs: number): void {
    if (nowMs - this.#secondAtMs >= SECOND_MS) {
      this.#secondAtMs = nowMs;
      this.#taken = 0;
    }
    this.#taken++;
    this.#best = Math.max(this.#best, this.#taken);
  }

  /** It was too much for the far side; what it is sent does not fall below `leastPerS` for that. */
  exceeded(leastPerS: number): void {
    // One that took nothing has not said how much it takes.
    if (this.#best === 0) return;
    this.#perS = Math.min(this.#perS, Math.max(leastPerS, SHARE * Math.min(this.#perS, this.#best)));
    this.#raisedAtMs = this.#allowedAtMs = this.#clock.monotonicMs();
    this.#allowance = 1;
  }

  /** Whether another may go now. */
  get isOpen(): boolean {
    if (this.#perS === Infinity) return true;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#raisedAtMs >= RAISE_MS) {
      this.#raisedAtMs = nowMs;
      this.#perS = this.#perS >= RAISE_MAX_PER_S ? Infinity : this.#perS / SHARE;
    }
    const more = ((nowMs - this.#allowedAtMs) * this.#perS) / SECOND_MS;
    this.#allowedAtMs = nowMs;
    this.#allowance = Math.min(Math.max(1, BURST_S * this.#perS), this.#allowance + more);
    return this.#allowance >= 1;
  }

  /** One goes. */
  sent(): void {
    this.#allowance--;
  }
}
