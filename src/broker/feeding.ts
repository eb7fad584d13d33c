/**
 * The time of a turn for those who are fed retained messages. A few bytes of SUBSCRIBE ask for thousands of searches or
 * a million messages: together they get so much of each turn, one after the other, and everybody else has the rest.
 */
import type { Clock } from '../clock.js';

/** Who is fed. */
export interface Fed {
  /** It can go on: it has output at the end of the turn. */
  touch(): void;
}

const FEEDING_MS = 5;
/** The time is looked at after so many steps. */
const STEPS = 32;
/** So many of those who wait have their turn next. */
const NEXT_MAX = 64;

export class Feeding {
  readonly #clock: Clock;
  /** In this turn. */
  #stepCount = 0;
  #sinceMs = 0;
  #isOver = false;
  /** Who had the rest of this turn's time. */
  #last: Fed | null = null;
  /** Those who have more to come, in the order of their turns. */
  readonly #waiting = new Set<Fed>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether there is time for another step of it; if not, it is touched when there is. */
  mayGoOn(fed: Fed): boolean {
    if (!this.#isOver && this.#stepCount++ % STEPS === 0) this.#look(fed);
    if (this.#isOver) this.#waiting.add(fed);
    return !this.#isOver;
  }

  #look(fed: Fed): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#stepCount === 1) this.#sinceMs = nowMs;
    this.#isOver = nowMs - this.#sinceMs > FEEDING_MS;
    if (this.#isOver) this.#last = fed;
  }

  /** The turn is over: those who wait have the next. */
  endTurn(): void {
    this.#stepCount = 0;
    if (!this.#isOver && this.#waiting.size === 0) return;
    this.#isOver = false;
    // Who had this one goes behind those who had nothing of it.
    if (this.#last !== null && this.#waiting.delete(this.#last)) this.#waiting.add(this.#last);
    this.#last = null;
    let count = 0;
    for (const fed of this.#waiting) {
      if (count++ === NEXT_MAX) return;
      this.#waiting.delete(fed);
      fed.touch();
    }
  }
}
