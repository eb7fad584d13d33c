/**
 * The broker's time over restarts. What expires does so by a clock that no setting of the wall clock moves, so its times
 * mean nothing to a process that begins with another wall time: the store notes what that clock and the wall clock show,
 * beside the facts that were stored by then, and the next process goes on from there.
 */
import type { Cancel, ClockReading, SteadyClock } from '../clock.js';
import type { Store } from '../store/store.js';

/** The clock is noted so often while facts come in; what came after the last note is no more than this younger. */
const NOTE_MS = 1000;
/** What the two clocks are apart changes by rounding, or by a jump. */
const APART_MS = 1000;

export class Timekeeping {
  readonly #clock: SteadyClock;
  readonly #store: Store;
  #notedMs = -Infinity;
  /** When nothing comes in, the next note is due after this pause, which doubles: half of a silence is known. */
  #pauseMs = Infinity;
  /** How far the wall clock was ahead when it was noted. */
  #aheadMs = 0;
  #cancel: Cancel | null = null;

  constructor(clock: SteadyClock, store: Store) {
    this.#clock = clock;
    this.#store = store;
  }

  /** Goes on from where the store's last process was. */
  start(noted: ClockReading | null): void {
    if (!this.#store.isLasting) return;
    if (noted !== null) {
      this.#clock.goOn(noted, NOTE_MS);
      this.#aheadMs = noted.wallMs - noted.nowMs;
    }
    this.#watch();
  }

  /** The end of a turn: what was appended in it is committed next. */
  endTurn(): void {
    if (this.#store.isClockDue !== true || this.#clock.monotonicMs() < this.#notedMs + NOTE_MS) return;
    this.#pauseMs = NOTE_MS;
    this.#note(this.#clock.read());
  }

  /** The process ends: time that passed since the last fact counts, too. */
  stop(): void {
    if (this.#cancel === null) return;
    this.#cancel();
    this.#cancel = null;
    this.#note(this.#clock.read());
  }

  /** A jump is noted though nothing else happens: the next process must not take it for time that passed. */
  #watch(): void {
    this.#cancel = this.#clock.after(NOTE_MS, () => {
      const reading = this.#clock.read();
      const isOverdue = this.#clock.monotonicMs() >= this.#notedMs + this.#pauseMs;
      if (isOverdue) this.#pauseMs *= 2;
      if (isOverdue || Math.abs(reading.wallMs - reading.nowMs - this.#aheadMs) > APART_MS)
        this.#note(reading);
      this.#watch();
    });
  }

  #note(reading: ClockReading): void {
    this.#notedMs = this.#clock.monotonicMs();
    if (!this.#store.isHealthy) return;
    this.#aheadMs = reading.wallMs - reading.nowMs;
    this.#store.append({ type: 'ClockRead', nowMs: reading.nowMs, wallMs: reading.wallMs });
  }
}
